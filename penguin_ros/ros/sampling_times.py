# SPDX-License-Identifier: Apache-2.0
"""When the next frame of a camera is wanted. Knows two clocks and no ROS."""
from __future__ import annotations

from collections.abc import Callable

from penguin_ros.frame import NANOSECONDS

Clock = Callable[[], int]
"""Returns nanoseconds."""


class SamplingTimes:
    """One sample per period, without drift: late samples do not move the later ones, unless by more than a period.

    The steady clock decides. ROS time may make a sample due earlier, never later: where simulated time runs faster than real
    time, clips still get their frames per second of camera time, and where it stands still or jumps back, sampling goes on.
    """

    def __init__(self, rate_hz: float, steady_ns: Clock, ros_ns: Clock) -> None:
        self._steady_ns, self._ros_ns = steady_ns, ros_ns
        self._period_ns = round(NANOSECONDS / rate_hz)
        self._due_ns = steady_ns()
        self._taken_ros_ns: int | None = None

    @property
    def period_ns(self) -> int:
        """Time between two samples."""
        return self._period_ns

    def set_rate(self, rate_hz: float) -> None:
        """Applies from now on; the next sample comes after at most one new period."""
        self._period_ns = round(NANOSECONDS / rate_hz)
        self._due_ns = min(self._due_ns, self._steady_ns() + self._period_ns)

    def is_due(self) -> bool:
        """Whether a frame is wanted now."""
        return self._steady_ns() >= self._due_ns or self._is_due_in_ros_time()

    def _is_due_in_ros_time(self) -> bool:
        return self._taken_ros_ns is not None and self._ros_ns() - self._taken_ros_ns >= self._period_ns

    def take(self) -> None:
        """Notes that a frame was taken."""
        now_ns = self._steady_ns()
        is_on_time = 0 <= now_ns - self._due_ns < self._period_ns
        self._due_ns = (self._due_ns if is_on_time else now_ns) + self._period_ns
        self._taken_ros_ns = self._ros_ns()

    def until_due_ns(self) -> int:
        """Steady time until the next sample, 0 when it is due."""
        return max(0, self._due_ns - self._steady_ns())
