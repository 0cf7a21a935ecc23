# SPDX-License-Identifier: Apache-2.0
"""A dialogue that a request brings: who said what, and what was shown, as values."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.frame import Frame, FrameType


@dataclass(frozen=True, eq=False)
class ShownImage:
    """A single image."""

    frame: Frame


@dataclass(frozen=True, eq=False)
class ShownVideo:
    """Frames in the order of their stamps, one at least.

    `has_times`: the model is told when each was taken, after the first. `types` and `sizes`,
    (height, width) in pixels, are a plan for exactly these frames, or empty: then it is made here,
    and all frames have one size. `is_truncated`: whoever made the plan left frames out.
    """

    frames: tuple[Frame, ...]
    has_times: bool = True
    types: tuple[FrameType, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    is_truncated: bool = False


Shown = ShownImage | ShownVideo


@dataclass(frozen=True, eq=False)
class SaidMessage:
    """What one side says; `role` is system, user or assistant, `parts` are in the order in which
    the model sees them.
    """

    role: str
    parts: tuple[str | Shown, ...]

    @property
    def text(self) -> str:
        """What is said, without what is shown."""
        return ''.join(part for part in self.parts if isinstance(part, str))
