# SPDX-License-Identifier: Apache-2.0
"""A frame of a window and what it costs: values. Knows neither buffers nor policies."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penguin_ros.frame import Frame, FrameType

TokenCosts = Mapping[FrameType, int]
"""Visual tokens of a frame, by its type."""


@dataclass(frozen=True, eq=False)
class TypedFrame:
    """`type` was given once and decides the size at which the model sees the frame, in whatever clip it stands.

    `is_like`: like the latest key frame when it came.
    """

    frame: Frame
    type: FrameType
    is_like: bool = False

    @property
    def stamp_ns(self) -> int:
        """Of the frame."""
        return self.frame.stamp_ns


def tokens_of_frames(frames: Iterable[TypedFrame], costs: TokenCosts) -> int:
    """Of all together."""
    return sum(costs[frame.type] for frame in frames)


def newest_within(frames: tuple[TypedFrame, ...], max_frames: int, max_tokens: int, costs: TokenCosts) -> tuple[TypedFrame, ...]:
    """The newest frames that keep both limits, one at least: where settings have become tighter since the frames came."""
    first = max(0, len(frames) - max_frames)
    while first < len(frames) - 1 and tokens_of_frames(frames[first:], costs) > max_tokens:
        first += 1
    return frames[first:]
