# SPDX-License-Identifier: Apache-2.0
"""What the camera of `penguin bench live` sees: a static scene and a changing one, and clips of the
stored images.

Scenes come from the simulated world, from a video, or, where neither is there, from the images made
in code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penguin_ros.benchmark.stored_clip import HEIGHT, SQUARE, WIDTH, stored_images
from penguin_ros.errors import BackendUnavailable
from penguin_ros.frame import NANOSECONDS, Frame, Image

if TYPE_CHECKING:
    from penguin_ros.simulation.scene import Scene

CAMERA = 'camera'
STATIC, CHANGING = 'static', 'changing'
SCENE_S = 4.0
"""How long each scene of the changing stream lasts."""

NOISE = 2.0
"""The least standard deviation of each pixel, in steps of 0..255."""

STATIC_SEED, CHANGING_SEED = 17, 100
"""The first numbers among the scenes that no model is trained on."""


@dataclass(frozen=True)
class Stream:
    """A `scene`, STATIC or CHANGING, as `frames` at a steady rate from stamp 0 on; `source` says
    where the images are from.
    """

    scene: str
    frames: tuple[Frame, ...]
    source: str


def framed(images: Iterable[Image], fps: float, first: int = 0) -> tuple[Frame, ...]:
    """Images as frames of the camera; `first` is the number of the first one at the rate `fps`."""
    return tuple(
        Frame(round((first + index) * NANOSECONDS / fps), image, CAMERA)
        for index, image in enumerate(images)
    )


def clip_images(count: int, size: tuple[int, int]) -> list[Image]:
    """The stored images in (width, height): one key frame, then frames that are similar to it."""
    return [_sized(image, size) for image in stored_images(count)]


def further_images(number: int, count: int, size: tuple[int, int]) -> list[Image]:
    """`count` images that continue a clip of the stored ones; those of another `number` all
    differ.
    """
    first, *_ = stored_images(9)
    images = []
    for index in range(count):
        image = first.copy()
        top = (7 + 41 * number) % (HEIGHT - SQUARE)
        left = (WIDTH - SQUARE - 29 * index - 11 * number) % (WIDTH - SQUARE)
        image[top : top + SQUARE, left : left + SQUARE] = 30, 90 + 3 * number, 220
        images.append(_sized(image, size))
    return images


def stream(scene: str, seconds: int, fps: float, size: tuple[int, int], video: str = '') -> Stream:
    """A stream of the scene STATIC or CHANGING, `seconds` long; MediaError when the video
    cannot be read or is too short.
    """
    count = round(seconds * fps)
    if video:
        images, source = _of_video(scene, Path(video), count, fps, size)
    else:
        try:
            images, source = _simulated(scene, count, fps, size)
        except BackendUnavailable as error:
            images, source = _drawn(scene, count, fps, size), f'drawn in code: {error}'
    return Stream(scene, framed(images, fps), source)


def write_video(path: Path, images: Sequence[Image], fps: float) -> Path:
    """Writes at least one image, all of one size, as the video `path` (.mp4); MediaError when
    this OpenCV has no encoder.
    """
    import cv2

    from penguin_ros.media.video import MediaError

    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        raise MediaError(
            'cannot write a video', 'this OpenCV has no mp4v encoder', 'Give one with --video FILE'
        )
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return path


def _simulated(
    scene: str, count: int, fps: float, size: tuple[int, int]
) -> tuple[list[Image], str]:
    from penguin_ros.simulation.clips import HELD_OUT
    from penguin_ros.simulation.random_scene import random_scene
    from penguin_ros.simulation.world import World

    times = [index / fps for index in range(count)]
    with World(*size) as world:
        if scene == STATIC:
            world.load(_with_noise(random_scene(HELD_OUT[STATIC_SEED], 1, SCENE_S)))
            return [world.render(time_s) for time_s in times], 'simulated, level 1: nothing moves'
        images, shown = [], -1
        for time_s in times:
            if shown != (shown := int(time_s // SCENE_S)):
                world.load(_with_noise(random_scene(HELD_OUT[CHANGING_SEED + shown], 2, SCENE_S)))
            images.append(world.render(time_s % SCENE_S))
        return images, f'simulated, level 2: things move, another scene every {SCENE_S:g} s'


def _with_noise(scene: Scene) -> Scene:
    """Adds the noise of a camera: no two images are equal, so none is found in a cache by
    chance.
    """
    return replace(scene, noise=max(scene.noise, NOISE))


def _of_video(
    scene: str, path: Path, count: int, fps: float, size: tuple[int, int]
) -> tuple[list[Image], str]:
    from penguin_ros.media.video import MediaError, VideoRecording

    wanted, images = (1 if scene == STATIC else count), list[Image]()
    for _, image in VideoRecording(path).frames(fps):
        images.append(_sized(image, size))
        if len(images) == wanted:
            break
    if len(images) < wanted:
        raise MediaError(
            f'{path} is too short',
            f'{count} frames at {fps:g} Hz are wanted, it gives {len(images)}',
            'Give a longer video or fewer --captions',
        )
    if scene == STATIC:
        return _noisy(images[0], count), f'first image of {path.name}, with the noise of a camera'
    return images, path.name


def _drawn(scene: str, count: int, fps: float, size: tuple[int, int]) -> list[Image]:
    if scene == STATIC:
        return _noisy(clip_images(1, size)[0], count)
    every = max(1, round(SCENE_S * fps))
    return [
        np.roll(image, index // every, axis=2)
        for index, image in enumerate(clip_images(count, size))
    ]  # new colours


def _noisy(image: Image, count: int) -> list[Image]:
    """The image as a camera that stands sees it, `count` times."""
    random = np.random.default_rng(1)
    return [
        np.clip(image + random.normal(0.0, NOISE, image.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def _sized(image: Image, size: tuple[int, int]) -> Image:
    if (image.shape[1], image.shape[0]) == size:
        return image
    import cv2

    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
