# SPDX-License-Identifier: Apache-2.0
"""Which frames of a stream are taken.

Three samplers keep a rate, one per place where frames come from; each belongs to one thread at a
time. `LiveSampler` decides by the clock when a camera's next message is wanted, before it is
received. `WindowSampler` decides by its stamp whether a received frame enters the camera's window,
for good when the frame arrives: a choice that depended on the newest frame would pick other frames
every time and leave nothing to reuse. `RecordingSampler` thins a video file or a bag.

The functions choose from frames that are all there: `clip_frames` makes a clip of a stretch of
frames, `evenly` thins any sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penguin_ros.config import ClipConfig
from penguin_ros.frame import NANOSECONDS, Frame

ROUNDING_NS = 500_000
"""Half a millisecond: the times of a recording are often rounded to the millisecond."""

Clock = Callable[[], int]
"""Returns nanoseconds."""


class LiveSampler:
    """Tells when a camera's next frame is wanted: once per period, without drift. A late sample
    does not move the later ones, unless it is late by more than a period.

    The steady clock decides. ROS time may make a sample due earlier, never later: where simulated
    time runs faster than real time, clips still get their frames per second of camera time, and
    where it stands still or jumps back, sampling goes on.
    """

    def __init__(self, rate_hz: float, steady_ns: Clock, ros_ns: Clock) -> None:
        self._steady_ns = steady_ns
        self._ros_ns = ros_ns
        self._period_ns = round(NANOSECONDS / rate_hz)
        self._due_ns = steady_ns()
        self._taken_ros_ns: int | None = None

    @property
    def period_ns(self) -> int:
        """Time between two samples."""
        return self._period_ns

    def set_rate(self, rate_hz: float) -> None:
        """Changes the rate; the next sample is due after one new period at most."""
        self._period_ns = round(NANOSECONDS / rate_hz)
        self._due_ns = min(self._due_ns, self._steady_ns() + self._period_ns)

    def is_due(self) -> bool:
        """Returns whether a frame is wanted now."""
        return self._steady_ns() >= self._due_ns or self._is_due_in_ros_time()

    def take(self) -> None:
        """Notes that a frame was taken."""
        now_ns = self._steady_ns()
        is_on_time = 0 <= now_ns - self._due_ns < self._period_ns
        self._due_ns = (self._due_ns if is_on_time else now_ns) + self._period_ns
        self._taken_ros_ns = self._ros_ns()

    def until_due_ns(self) -> int:
        """Returns the steady time until the next sample, 0 when it is due."""
        return max(0, self._due_ns - self._steady_ns())

    def _is_due_in_ros_time(self) -> bool:
        return (
            self._taken_ros_ns is not None
            and self._ros_ns() - self._taken_ros_ns >= self._period_ns
        )


class WindowSampler:
    """Takes at most one frame per `period_ns` in the long run, from the first one on.

    Each frame taken makes the next one due a period later. A frame may be a quarter of a period
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
        """Returns whether a frame with that stamp would be taken now."""
        return self._due_ns is None or stamp_ns >= self._due_ns - self._period_ns // 4

    def take(self, stamp_ns: int) -> bool:
        """Takes the next frame if it is due, and returns whether it was; stamps must rise."""
        if not self.is_due(stamp_ns):
            return False
        next_due_ns = (
            stamp_ns if self._due_ns is None else max(self._due_ns, stamp_ns - self._period_ns // 2)
        )
        self._due_ns = next_due_ns + self._period_ns
        return True


class RecordingSampler:
    """Takes the first frame at or after each multiple of 1 / `fps` since the first; every frame
    when `fps` is 0.

    Times that do not increase are never taken, so that stamps of a damaged recording stay strictly
    increasing.
    """

    def __init__(self, fps: float) -> None:
        self._period_ns = NANOSECONDS / fps if fps > 0 else 0.0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._taken = 0

    def is_due(self, time_ns: int) -> bool:
        """Returns whether a frame with this time would be taken now."""
        return self._first_ns is None or (
            time_ns > self._last_ns
            and time_ns - self._first_ns >= self._taken * self._period_ns - ROUNDING_NS
        )

    def take(self, time_ns: int) -> bool:
        """Takes the frame with this time if it is due, and returns whether it was."""
        if not self.is_due(time_ns):
            return False
        if self._first_ns is None:
            self._first_ns = time_ns
        self._last_ns = time_ns
        self._taken = (
            int((time_ns - self._first_ns + ROUNDING_NS) / self._period_ns) + 1
            if self._period_ns
            else 0
        )
        return True


def clip_frames(
    frames: Sequence[Frame], choice: ClipConfig, span_ns: int | None = None
) -> tuple[Frame, ...]:
    """Chooses at most `choice.fps` frames per second and `choice.max_frames` in all, the newest
    always among them; `frames` is not empty and its stamps rise.

    Time is cut into cells of 1 / fps around newest, newest - 1 / fps, ..., over less than
    `span_ns`; each cell gives the frame nearest to its centre, so that a camera a little faster or
    slower than `fps` loses none. More than `max_frames` are thinned evenly.
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
    return tuple(spaced[index] for index in evenly(len(spaced), choice.max_frames))


def runs_of_equal_size(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Splits frames where their image size changes; each run keeps its order."""
    runs: list[list[Frame]] = []
    for frame in frames:
        if runs and runs[-1][-1].size == frame.size:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def evenly(count: int, limit: int) -> tuple[int, ...]:
    """Returns `limit` of the indices 0 .. count - 1, evenly spread and rounded half up; all of them
    when there are no more.

    The last index is always among them, the first too unless `limit` is 1.
    """
    if count <= limit:
        return tuple(range(count))
    if limit == 1:
        return (count - 1,)
    return tuple((2 * step * (count - 1) + limit - 1) // (2 * (limit - 1)) for step in range(limit))
