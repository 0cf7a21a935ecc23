# SPDX-License-Identifier: Apache-2.0
"""Which frames of a stream count, decided for good when each arrives. Knows stamps, not pictures.

A choice that hangs on the newest frame picks other frames every time and leaves nothing to reuse; this one never looks back.
"""
from __future__ import annotations


class FrameGrid:
    """At most one frame per `period_ns` in the long run, from the first one on; one thread at a time.

    Each admitted frame makes the next one due a period later. A frame may be a quarter of a period early, so that jitter costs
    none; one that is more than half a period late moves the grid, so that a slow camera loses none and a fast one only what is
    above the rate.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._due_ns: int | None = None

    @property
    def period_ns(self) -> int:
        """Time between two frames."""
        return self._period_ns

    def is_due(self, stamp_ns: int) -> bool:
        """Whether a frame of that stamp would be admitted now."""
        return self._due_ns is None or stamp_ns >= self._due_ns - self._period_ns // 4

    def admit(self, stamp_ns: int) -> bool:
        """Whether the next frame counts; stamps must rise."""
        if not self.is_due(stamp_ns):
            return False
        next_due_ns = stamp_ns if self._due_ns is None else max(self._due_ns, stamp_ns - self._period_ns // 2)
        self._due_ns = next_due_ns + self._period_ns
        return True
