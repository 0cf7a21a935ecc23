# SPDX-License-Identifier: Apache-2.0
"""Which frames of a clip, or which pictures of a request, are sent to a remote engine, of which
type and size: those that the node's own model would see. Worker thread.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from penguin_ros.checkpoint.published_shapes import PROCESSOR
from penguin_ros.config import VisualConfig
from penguin_ros.frame import Frame, FrameType
from penguin_ros.preprocessing.frame_plan import (
    FramePlan,
    image_plan,
    image_unit,
    video_plan_steps,
    video_unit,
)
from penguin_ros.remote.question import RemoteFrame
from penguin_ros.requests.images import RequestImages
from penguin_ros.window.camera_window import ChosenClip

VIDEO_UNIT = video_unit(PROCESSOR)
"""What one visual token covers, in every published model."""


@dataclass(frozen=True, eq=False)
class PlannedFrames:
    """What is sent; `is_clip`: a video, by stamps; `is_truncated`: something was left out."""

    frames: tuple[RemoteFrame, ...] = ()
    is_clip: bool = False
    is_truncated: bool = False


def planned_frames(
    images: RequestImages | None, chosen: ChosenClip | None, visual: VisualConfig
) -> Generator[None, None, PlannedFrames]:
    """Plans the images of a request, or a clip, or nothing; yields after each frame."""
    if images is not None and not images.stamps_ns:
        return _pictures(images, visual)
    if images is not None:
        stamped = zip(images.stamps_ns, images.decoded, strict=True)
        frames = tuple(Frame(stamp_ns, image) for stamp_ns, image in stamped)
        plan = None
    elif chosen is not None:
        frames, plan = chosen.clip.frames, chosen.plan
    else:
        return PlannedFrames()
    if plan is None:
        plan = yield from video_plan_steps([each.image for each in frames], VIDEO_UNIT, visual)
    return PlannedFrames(_planned(frames, plan), True, plan.is_truncated)


def _pictures(images: RequestImages, visual: VisualConfig) -> PlannedFrames:
    count, unit = len(images.decoded), image_unit(PROCESSOR)
    share = replace(visual, max_visual_tokens=max(visual.max_visual_tokens, count))
    planned: list[RemoteFrame] = []
    is_truncated = False
    for image in images.decoded:
        plan = image_plan(image, count, unit, share)
        is_truncated = is_truncated or plan.is_truncated
        planned.append(RemoteFrame(Frame(0, image), FrameType.KEY, plan.sizes[0]))
    return PlannedFrames(tuple(planned), False, is_truncated)


def _planned(frames: tuple[Frame, ...], plan: FramePlan) -> tuple[RemoteFrame, ...]:
    return tuple(
        RemoteFrame(frames[index], kind, size)
        for index, kind, size in zip(plan.indices, plan.types, plan.sizes, strict=True)
    )
