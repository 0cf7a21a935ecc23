# SPDX-License-Identifier: Apache-2.0
"""Chooses frames of a recording at a steady rate. Knows times only."""
from __future__ import annotations

from penguin_ros.frame import NANOSECONDS

ROUNDING_NS = 500_000
"""Media times are often rounded to the millisecond."""


class SampleTimes:
    """Takes the first frame at or after each multiple of 1/fps since the first; every later one when fps is 0.

    Times that do not increase are never taken, so that stamps of a damaged recording stay strictly increasing.
    """

    def __init__(self, fps: float) -> None:
        self._period_ns = NANOSECONDS / fps if fps > 0 else 0.0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._taken = 0

    def takes(self, time_ns: int) -> bool:
        """Whether the frame of this time is a sample."""
        if self._first_ns is None:
            self._first_ns = time_ns
        elif time_ns <= self._last_ns or time_ns - self._first_ns < self._taken * self._period_ns - ROUNDING_NS:
            return False
        self._last_ns = time_ns
        self._taken = int((time_ns - self._first_ns + ROUNDING_NS) / self._period_ns) + 1 if self._period_ns else 0
        return True
