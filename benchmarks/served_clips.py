# SPDX-License-Identifier: Apache-2.0
"""Clips that nothing has seen before, and how a client sends them to a served engine."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import numpy as np

from penguin_ros.config import PenguinConfig
from penguin_ros.dialogue import ShownVideo
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.media.compressed import decode_compressed
from penguin_ros.pipeline import Pipeline
from penguin_ros.preprocessing.frame_plan import video_plan_steps, video_unit
from penguin_ros.remote.frame_pictures import FramePictures
from penguin_ros.remote.question import RemoteFrame
from penguin_ros.steps import run_to_end

FRAMES, SIZE = 8, (192, 320)
QUESTION = 'How many things are there?'


def clip(number: int) -> list[Frame]:
    """A clip like no other before it: a disc that moves over noise that compresses little."""
    random = np.random.default_rng(number)
    ground = random.integers(60, 120, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
    ground = ground.repeat(8, 0).repeat(8, 1)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = []
    for index in range(FRAMES):
        image = ground.copy()
        image[(rows - 96) ** 2 + (columns - 40 - 25 * index) ** 2 < 900] = (200, 20, 20)
        frames.append(Frame((number * 100 + index) * NANOSECONDS // 2, image, 'front'))
    return frames


class Plans:
    """Plans frames as the node does."""

    def __init__(self, pipeline: Pipeline, settings: PenguinConfig) -> None:
        model = pipeline._loaded()
        self._unit = video_unit(model.source.shape.processor)
        self._visual = settings.visual

    def video(self, frames: list[Frame]) -> ShownVideo:
        images = [frame.image for frame in frames]
        plan = run_to_end(video_plan_steps(images, self._unit, self._visual))
        kept = tuple(frames[index] for index in plan.indices)
        return ShownVideo(kept, True, plan.types, plan.sizes, plan.is_truncated)


def as_jpeg(video: ShownVideo, quality: int, pictures: FramePictures) -> list[dict[str, Any]]:
    """The frames as the dialect penguin sends them."""
    sent = []
    for frame, kind, size in zip(video.frames, video.types, video.sizes, strict=True):
        picture = pictures.picture(RemoteFrame(frame, kind, size), quality)
        sent.append(
            {
                'stamp_ns': frame.stamp_ns,
                'uuid': picture.uuid,
                'image': picture.base64,
                'type': kind.name.lower(),
                'size': list(size),
            }
        )
    return sent


def body_of(frames: list[dict[str, Any]], model: str = 'penguin_sim') -> bytes:
    content = [
        {'type': 'penguin_clip', 'penguin_clip': {'camera': 'front', 'frames': frames}},
        {'type': 'text', 'text': QUESTION},
    ]
    messages = [{'role': 'user', 'content': content}]
    return json.dumps({'model': model, 'messages': messages, 'stream': True}).encode()


def through_jpeg(video: ShownVideo, quality: int, sizes: list[int]) -> ShownVideo:
    """What a server decodes of what a client sends."""
    files = [
        base64.b64decode(each['image']) for each in as_jpeg(video, quality, FramePictures(1 << 24))
    ]
    sizes.append(sum(map(len, files)))
    frames = tuple(
        dataclasses.replace(frame, image=decode_compressed(file, 1 << 30))
        for frame, file in zip(video.frames, files, strict=True)
    )
    return dataclasses.replace(video, frames=frames)
