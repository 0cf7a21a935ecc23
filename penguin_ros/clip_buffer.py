# SPDX-License-Identifier: Apache-2.0
"""The last seconds of one camera, under a byte cap; hands out clips. Knows neither ROS nor models
nor other cameras.

Frames are added by one thread (an executor's) and read by another (the worker); one lock guards
each buffer and is held only for bookkeeping, never while pixels are computed.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from penguin_ros.config import BufferConfig, ClipConfig
from penguin_ros.frame import NANOSECONDS, Clip, Frame
from penguin_ros.frame_sampling import clip_frames, runs_of_equal_size
from penguin_ros.request import Interval

RESTART_AFTER_LATE = (
    4  # late frames in a row, their own stamps rising, that show that the camera's clock went back
)
# the same for stamps older than all that the buffer may hold; one alone may be a defect of the
# driver
RESTART_AFTER_FAR = 2
RATE_WINDOW_NS = 5 * NANOSECONDS
DROPS_REMEMBERED = 1024  # times of drops kept for `dropped_between`


@dataclass(frozen=True)
class BufferStatus:
    """What a buffer holds and what became of the rest.

    `received`: frames taken; `dropped`: frames lost, by cause; `expired`: frames that left because
    they reached their age; `skewed`: frames taken although their stamp lay in the future;
    `size_changes`: changes of the picture's size; `rate_hz`: frames taken per second over the last
    five; `age_ns`: see ClipBuffer.age_ns.
    """

    camera: str
    frames: int
    bytes: int
    newest_ns: int | None
    age_ns: int | None
    rate_hz: float
    received: int
    expired: int
    skewed: int
    size_changes: int
    dropped: Mapping[str, int]


class ClipBuffer:
    """Frames of one camera, by rising stamp, no two alike.

    Dropped and counted by cause: `shape` (not (height, width, 3) uint8, or empty), `too_large`
    (alone over the byte cap), `late` (older than the newest frame), `duplicate` (a stamp already
    there), `bytes` (oldest, to keep the byte cap), `flushed` (a flush), `restarted` (the stream's
    clock went back). A stream counts as restarted, and what was there goes, at the
    RESTART_AFTER_LATE-th frame in a row that is behind the newest while their own stamps rise (a
    looping bag, or one stamp far ahead of all others), or at the RESTART_AFTER_FAR-th when it lies
    further back than the buffer reaches.
    """

    def __init__(
        self, camera: str, config: BufferConfig, future_tolerance_ns: int = NANOSECONDS
    ) -> None:
        self.camera = camera
        self._config, self._future_tolerance_ns = config, future_tolerance_ns
        self._lock = threading.Lock()
        self._frames: list[Frame] = []
        self._stamps: list[int] = []
        self._bytes = 0
        self._late_stamps: list[int] = []
        self._arrivals_ns: deque[int] = deque(maxlen=2048)
        self._drop_times_ns: deque[int] = deque(maxlen=DROPS_REMEMBERED)
        self._dropped: Counter[str] = Counter()
        self._received = self._expired = self._skewed = self._size_changes = 0
        self._newest_arrival_ns = self._epoch = 0

    def add(self, frame: Frame, now_ns: int) -> bool:
        """Takes a frame or drops and counts it; `now_ns` is camera time. The image must not be
        written to afterwards.
        """
        image = frame.image
        if not image.flags.c_contiguous or getattr(image.base, 'nbytes', 0) > image.nbytes:
            # A view would keep the larger array behind it alive, which the byte cap does not see.
            frame = Frame(frame.stamp_ns, image.copy(), frame.camera, frame.frame_id)
        with self._lock:
            if image.nbytes > self._config.max_bytes:
                self._drop('too_large', frame.stamp_ns)
                return False
            if (
                self._stamps
                and frame.stamp_ns <= self._stamps[-1]
                and not self._is_restart(frame.stamp_ns)
            ):
                return False
            self._append(frame, now_ns)
            return True

    def count_drop(self, cause: str, stamp_ns: int) -> None:
        """Counts a frame that was lost before it came here; `stamp_ns`: its stamp, or the time of
        arrival.
        """
        with self._lock:
            self._drop(cause, stamp_ns)

    def flush(self, cause: str = 'flushed') -> None:
        """Forgets all frames, counting them under `cause`, and every time that was based on the old
        clock.
        """
        with self._lock:
            self._forget_all(cause)

    def configure(self, config: BufferConfig, future_tolerance_ns: int) -> None:
        """New bounds, kept at once."""
        with self._lock:
            self._config, self._future_tolerance_ns = config, future_tolerance_ns
            self._trim()

    def newest_clip(self, choice: ClipConfig) -> Clip | None:
        """The newest frames, all of the newest one's size: stamps in (newest - seconds, newest];
        see `clip_frames`.
        """
        with self._lock:
            if not self._frames:
                return None
            seconds_ns = round(choice.seconds * NANOSECONDS)
            frames = self._frames[bisect_right(self._stamps, self._stamps[-1] - seconds_ns) :]
        return Clip(self.camera, clip_frames(runs_of_equal_size(frames)[-1], choice, seconds_ns))

    def interval_clip(self, interval: Interval, choice: ClipConfig) -> Clip | None:
        """The frames of an interval, both ends included; `choice.seconds` does not bound it.

        Where the size changes inside it, the clip is the run of equal size with the most frames,
        the newer one when equal.
        """
        with self._lock:
            frames = self._frames[
                bisect_left(self._stamps, interval.start_ns) : bisect_right(
                    self._stamps, interval.end_ns
                )
            ]
        if not frames:
            return None
        longest = max(reversed(runs_of_equal_size(frames)), key=len)
        return Clip(self.camera, clip_frames(longest, choice))

    def has_one_size(self, interval: Interval) -> bool:
        """False when the picture's size changes inside the interval, so that a clip of it is cut."""
        with self._lock:
            frames = self._frames[
                bisect_left(self._stamps, interval.start_ns) : bisect_right(
                    self._stamps, interval.end_ns
                )
            ]
        return len(runs_of_equal_size(frames)) <= 1

    def has_frames(self, interval: Interval) -> bool:
        """True when the interval holds a frame, both ends included."""
        with self._lock:
            return bisect_left(self._stamps, interval.start_ns) < bisect_right(
                self._stamps, interval.end_ns
            )

    def newer_than(self, stamp_ns: int | None, epoch: int) -> tuple[int, tuple[Frame, ...]]:
        """The frames after a stamp, None: all; with the number of times that everything was
        forgotten. Where that number is not `epoch`, the stamp is of a stream that is no more, and
        all frames are given.
        """
        with self._lock:
            is_known = stamp_ns is not None and epoch == self._epoch
            first = bisect_right(self._stamps, stamp_ns) if is_known and stamp_ns is not None else 0
            return self._epoch, tuple(self._frames[first:])

    def span(self) -> Interval | None:
        """Stamps of the oldest and the newest frame; None when empty."""
        with self._lock:
            return Interval(self._stamps[0], self._stamps[-1]) if self._stamps else None

    def age_ns(self, now_ns: int) -> int | None:
        """Age of the newest frame by its stamp, or by its arrival where its stamp lies ahead of
        that; None when empty.
        """
        with self._lock:
            return self._age_ns(now_ns)

    def dropped_between(self, start_ns: int, end_ns: int) -> int:
        """Frames dropped with a stamp in the stretch, both ends included; of the last
        DROPS_REMEMBERED drops.
        """
        with self._lock:
            return sum(start_ns <= time_ns <= end_ns for time_ns in self._drop_times_ns)

    def status(self, now_ns: int) -> BufferStatus:
        """A snapshot."""
        with self._lock:
            return BufferStatus(
                self.camera,
                len(self._frames),
                self._bytes,
                self._stamps[-1] if self._stamps else None,
                self._age_ns(now_ns),
                self._rate_hz(now_ns),
                self._received,
                self._expired,
                self._skewed,
                self._size_changes,
                dict(self._dropped),
            )

    # The methods below run under the lock.

    def _append(self, frame: Frame, now_ns: int) -> None:
        self._late_stamps.clear()
        self._skewed += frame.stamp_ns > now_ns + self._future_tolerance_ns
        self._size_changes += bool(self._frames) and self._frames[-1].size != frame.size
        self._frames.append(frame)
        self._stamps.append(frame.stamp_ns)
        self._bytes += frame.image.nbytes
        self._received += 1
        self._newest_arrival_ns = now_ns
        self._arrivals_ns.append(now_ns)
        self._trim()

    def _is_restart(self, stamp_ns: int) -> bool:
        """For a stamp not above the newest: makes room when the stream began anew, else counts the
        frame as lost.
        """
        newest_ns = self._stamps[-1]
        if stamp_ns < newest_ns:
            is_rising = bool(self._late_stamps) and stamp_ns > self._late_stamps[-1]
            self._late_stamps = [*self._late_stamps, stamp_ns] if is_rising else [stamp_ns]
            is_far = stamp_ns < newest_ns - round(self._config.seconds * NANOSECONDS)
            if len(self._late_stamps) >= (RESTART_AFTER_FAR if is_far else RESTART_AFTER_LATE):
                self._forget_all('restarted')
                return True
        self._drop('duplicate' if stamp_ns in self._stamps else 'late', stamp_ns)
        return False

    def _forget_all(self, cause: str) -> None:
        for stamp_ns in self._stamps:
            self._drop(cause, stamp_ns)
        self._frames, self._stamps, self._late_stamps, self._bytes = [], [], [], 0
        self._epoch += 1
        self._arrivals_ns.clear()
        self._drop_times_ns.clear()

    def _trim(self) -> None:
        if not self._frames:
            return
        oldest_ns = self._stamps[-1] - round(self._config.seconds * NANOSECONDS)
        first = bisect_left(self._stamps, oldest_ns)
        self._expired += first
        kept_bytes = self._bytes - sum(frame.image.nbytes for frame in self._frames[:first])
        while kept_bytes > self._config.max_bytes:
            self._drop('bytes', self._stamps[first])
            kept_bytes -= self._frames[first].image.nbytes
            first += 1
        del self._frames[:first], self._stamps[:first]
        self._bytes = kept_bytes

    def _drop(self, cause: str, stamp_ns: int) -> None:
        self._dropped[cause] += 1
        self._drop_times_ns.append(stamp_ns)

    def _age_ns(self, now_ns: int) -> int | None:
        return now_ns - min(self._stamps[-1], self._newest_arrival_ns) if self._stamps else None

    def _rate_hz(self, now_ns: int) -> float:
        recent = [time_ns for time_ns in self._arrivals_ns if now_ns - time_ns <= RATE_WINDOW_NS]
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return 0.0
        return (len(recent) - 1) * NANOSECONDS / (recent[-1] - recent[0])
