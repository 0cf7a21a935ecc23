# SPDX-License-Identifier: Apache-2.0
"""What the camera of `penguin bench live` sees: a scene that stands and one that changes, and clips
of the stored pictures.

Scenes come from the simulated world, from a video, or, where neither is there, from the pictures
made in code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penguin_ros.benchmark.stored_clip import HEIGHT, SQUARE, WIDTH, stored_pictures
from penguin_ros.errors import BackendUnavailable
from penguin_ros.frame import NANOSECONDS, Frame, Image

if TYPE_CHECKING:
    from penguin_ros.simulation.scene import Scene

CAMERA = 'camera'
STATIC, CHANGING = 'static', 'changing'
SCENE_S = 4.0
"""How long each simulated scene of the changing stream lasts."""

NOISE = 2.0
"""Standard deviation of each pixel at least, in steps of 0..255."""

STATIC_SEED, CHANGING_SEED = 17, 100
"""First numbers among the scenes that no model is trained on."""


@dataclass(frozen=True)
class Stream:
    """`scene` STATIC or CHANGING; `frames` at a steady rate from stamp 0 on; `source`: where the
    pictures are from.
    """

    scene: str
    frames: tuple[Frame, ...]
    source: str


def framed(pictures: Iterable[Image], fps: float, first: int = 0) -> tuple[Frame, ...]:
    """Pictures as frames of the camera; `first`: number of the first one on the grid of `fps`."""
    return tuple(
        Frame(round((first + index) * NANOSECONDS / fps), picture, CAMERA)
        for index, picture in enumerate(pictures)
    )


def clip_pictures(count: int, size: tuple[int, int]) -> list[Image]:
    """The stored pictures in (width, height): one key frame, then frames that are like it."""
    return [_sized(picture, size) for picture in stored_pictures(count)]


def further_pictures(number: int, count: int, size: tuple[int, int]) -> list[Image]:
    """`count` pictures that go on behind a clip of the stored ones; of another `number` all are
    others.
    """
    first, *_ = stored_pictures(9)
    pictures = []
    for index in range(count):
        picture = first.copy()
        top = (7 + 41 * number) % (HEIGHT - SQUARE)
        left = (WIDTH - SQUARE - 29 * index - 11 * number) % (WIDTH - SQUARE)
        picture[top : top + SQUARE, left : left + SQUARE] = 30, 90 + 3 * number, 220
        pictures.append(_sized(picture, size))
    return pictures


def stream(scene: str, seconds: int, fps: float, size: tuple[int, int], video: str = '') -> Stream:
    """STATIC or CHANGING, `seconds` long; RecordingError when the video cannot be read or is too
    short.
    """
    count = round(seconds * fps)
    if video:
        pictures, source = _of_video(scene, Path(video), count, fps, size)
    else:
        try:
            pictures, source = _simulated(scene, count, fps, size)
        except BackendUnavailable as error:
            pictures, source = _drawn(scene, count, fps, size), f'drawn in code: {error}'
    return Stream(scene, framed(pictures, fps), source)


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
        pictures, shown = [], -1
        for time_s in times:
            if shown != (shown := int(time_s // SCENE_S)):
                world.load(_with_noise(random_scene(HELD_OUT[CHANGING_SEED + shown], 2, SCENE_S)))
            pictures.append(world.render(time_s % SCENE_S))
        return pictures, f'simulated, level 2: things move, another scene every {SCENE_S:g} s'


def _with_noise(scene: Scene) -> Scene:
    """As a camera has it: no two pictures are the same, and none is found again by chance."""
    return replace(scene, noise=max(scene.noise, NOISE))


def _of_video(
    scene: str, path: Path, count: int, fps: float, size: tuple[int, int]
) -> tuple[list[Image], str]:
    from penguin_ros.media.video import RecordingError, VideoRecording

    wanted, pictures = (1 if scene == STATIC else count), list[Image]()
    for _, picture in VideoRecording(path).frames(fps):
        pictures.append(_sized(picture, size))
        if len(pictures) == wanted:
            break
    if len(pictures) < wanted:
        raise RecordingError(
            f'{path} is too short',
            f'{count} frames at {fps:g} Hz are wanted, it gives {len(pictures)}',
            'Give a longer video or fewer --captions',
        )
    if scene == STATIC:
        return _noisy(
            pictures[0], count
        ), f'first picture of {path.name}, with the noise of a camera'
    return pictures, path.name


def _drawn(scene: str, count: int, fps: float, size: tuple[int, int]) -> list[Image]:
    if scene == STATIC:
        return _noisy(clip_pictures(1, size)[0], count)
    every = max(1, round(SCENE_S * fps))
    return [
        np.roll(picture, index // every, axis=2)
        for index, picture in enumerate(clip_pictures(count, size))
    ]  # new colours


def _noisy(picture: Image, count: int) -> list[Image]:
    """As a camera that stands sees it."""
    random = np.random.default_rng(1)
    return [
        np.clip(picture + random.normal(0.0, NOISE, picture.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def _sized(picture: Image, size: tuple[int, int]) -> Image:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    import cv2

    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
