# SPDX-License-Identifier: Apache-2.0
"""Policy `sliding`: the newest frames of the grid, all of one size, so that features are kept when the oldest goes. Pure."""
from __future__ import annotations

from penguin_ros.frame import Frame, FrameType
from penguin_ros.window.typed_frame import TypedFrame


def slid(frames: tuple[TypedFrame, ...], frame: Frame, max_frames: int, span_ns: int) -> tuple[TypedFrame, ...]:
    """The window with its next frame: at most `max_frames` of one picture size, stamps in (newest - span_ns, newest]."""
    if frames and frames[-1].frame.size != frame.size:
        frames = ()
    oldest_ns = frame.stamp_ns - span_ns
    kept = tuple(old for old in frames if old.stamp_ns > oldest_ns)
    return (*kept, TypedFrame(frame, FrameType.KEY))[-max_frames:]
