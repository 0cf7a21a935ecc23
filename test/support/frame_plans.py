# SPDX-License-Identifier: Apache-2.0
"""The plan of a whole video and the similarity of two images, each in one call."""

from __future__ import annotations

from collections.abc import Sequence

from penguin_ros.config import VisualConfig
from penguin_ros.frame import Image
from penguin_ros.preprocessing.frame_plan import FramePlan, PatchUnit, video_plan_steps
from penguin_ros.preprocessing.frame_types import frame_signature, signature_similarity
from penguin_ros.steps import run_to_end


def video_plan(images: Sequence[Image], unit: PatchUnit, visual: VisualConfig) -> FramePlan:
    """The plan for a video of at least one frame, all of one size."""
    return run_to_end(video_plan_steps(images, unit, visual))


def similarity(first: Image, second: Image) -> float:
    """Share of similar patches of two images of one size, 0 to 1; two black images have 1."""
    return signature_similarity(frame_signature(first), frame_signature(second))
