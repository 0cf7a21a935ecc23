# SPDX-License-Identifier: Apache-2.0
"""When the next frame of a camera is wanted. Knows two clocks and no ROS.

Which frames of a stream count, decided for good when each arrives. Knows stamps, not pictures.

A choice that hangs on the newest frame picks other frames every time and leaves nothing to reuse;
this one never looks back.

Chooses frames of a recording at a steady rate. Knows times only.

Which frames of a stretch make a clip. Pure functions; knows neither buffers nor clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penguin_ros.config import ClipConfig
from penguin_ros.frame import NANOSECONDS, Frame


def runs_of_equal_size(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Neighbours of one picture size together, in order."""
    runs: list[list[Frame]] = []
    for frame in frames:
        if runs and runs[-1][-1].size == frame.size:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def chosen(
    frames: Sequence[Frame], choice: ClipConfig, span_ns: int | None = None
) -> tuple[Frame, ...]:
    """At most `choice.fps` frames per second and `choice.max_frames` in all, the newest always
    among them.

    Time is cut into cells of 1 / fps around newest, newest - 1 / fps, ..., over less than
    `span_ns`; each cell gives the frame nearest to its centre, so that a camera a little faster or
    slower than `fps` loses none. More than `max_frames` are thinned to evenly spread ranks, first
    and last included.
    """
    period_ns = max(1, round(NANOSECONDS / choice.fps))
    newest_ns = frames[-1].stamp_ns
    nearest: dict[int, tuple[int, Frame]] = {}
    for frame in reversed(frames):
        back_ns = newest_ns - frame.stamp_ns
        cell = (2 * back_ns + period_ns) // (2 * period_ns)
        distance_ns = abs(back_ns - cell * period_ns)
        if (span_ns is None or cell * period_ns < span_ns) and (
            cell not in nearest or distance_ns < nearest[cell][0]
        ):
            nearest[cell] = distance_ns, frame
    spaced = [nearest[cell][1] for cell in sorted(nearest, reverse=True)]
    return tuple(spaced[rank] for rank in even_ranks(len(spaced), choice.max_frames))


def even_ranks(count: int, limit: int) -> list[int]:
    """`limit` of the ranks 0 .. count - 1, evenly spread, the last always among them; all when
    there are no more.
    """
    if count <= limit:
        return list(range(count))
    if limit == 1:
        return [count - 1]
    return [(2 * rank * (count - 1) + limit - 1) // (2 * (limit - 1)) for rank in range(limit)]


ROUNDING_NS = 500_000
"""Media times are often rounded to the millisecond."""


class SampleTimes:
    """Takes the first frame at or after each multiple of 1/fps since the first; every later one
    when fps is 0.

    Times that do not increase are never taken, so that stamps of a damaged recording stay strictly
    increasing.
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
        elif (
            time_ns <= self._last_ns
            or time_ns - self._first_ns < self._taken * self._period_ns - ROUNDING_NS
        ):
            return False
        self._last_ns = time_ns
        self._taken = (
            int((time_ns - self._first_ns + ROUNDING_NS) / self._period_ns) + 1
            if self._period_ns
            else 0
        )
        return True


class FrameSampler:
    """At most one frame per `period_ns` in the long run, from the first one on; one thread at a
    time.

    Each admitted frame makes the next one due a period later. A frame may be a quarter of a period
    early, so that jitter costs none; one that is more than half a period late moves the grid, so
    that a slow camera loses none and a fast one only what is above the rate.
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

    def take(self, stamp_ns: int) -> bool:
        """Whether the next frame counts; stamps must rise."""
        if not self.is_due(stamp_ns):
            return False
        next_due_ns = (
            stamp_ns if self._due_ns is None else max(self._due_ns, stamp_ns - self._period_ns // 2)
        )
        self._due_ns = next_due_ns + self._period_ns
        return True


Clock = Callable[[], int]
"""Returns nanoseconds."""


class SamplingTimes:
    """One sample per period, without drift: late samples do not move the later ones, unless by more
    than a period.

    The steady clock decides. ROS time may make a sample due earlier, never later: where simulated
    time runs faster than real time, clips still get their frames per second of camera time, and
    where it stands still or jumps back, sampling goes on.
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
        return (
            self._taken_ros_ns is not None
            and self._ros_ns() - self._taken_ros_ns >= self._period_ns
        )

    def take(self) -> None:
        """Notes that a frame was taken."""
        now_ns = self._steady_ns()
        is_on_time = 0 <= now_ns - self._due_ns < self._period_ns
        self._due_ns = (self._due_ns if is_on_time else now_ns) + self._period_ns
        self._taken_ros_ns = self._ros_ns()

    def until_due_ns(self) -> int:
        """Steady time until the next sample, 0 when it is due."""
        return max(0, self._due_ns - self._steady_ns())
