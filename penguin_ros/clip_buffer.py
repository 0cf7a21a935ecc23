# SPDX-License-Identifier: Apache-2.0
"""The last seconds of one camera, under a byte cap, and the clips that can be made of them.

Frames are added on one thread (an executor's) and read on another (the worker's). One lock guards
each buffer; it is held only for bookkeeping, never while pixels are computed.
"""

from __future__ import annotations

import statistics
import threading
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from penguin_ros.config import BufferConfig, ClipConfig
from penguin_ros.frame import NANOSECONDS, Clip, Frame
from penguin_ros.frame_sampling import clip_frames, runs_of_equal_size
from penguin_ros.request import Interval

RESTART_AFTER_LATE = 4
"""Late frames in a row, their own stamps rising, that show that the camera's clock went back."""
RESTART_AFTER_FAR = 2
"""The same for stamps older than all that the buffer may hold; one alone may be a defect of the
driver.
"""
JUMP_NS = 2 * NANOSECONDS
"""A stamp that gains more than this on the time between arrivals is not believed by itself."""
JUMP_INTERVALS = 10
"""Nor is one that lies further ahead than this many of the last intervals between stamps."""
RATE_WINDOW_NS = 5 * NANOSECONDS
ARRIVALS_KEPT = 2048
DROPS_REMEMBERED = 1024
"""Stamps of drops kept for `dropped_between`."""


@dataclass(frozen=True)
class Admission:
    """What became of a frame that was offered; it is true when the frame was taken.

    `cause`: why it was dropped, '' when it was not; `is_new_stream`: it was taken, and what was
    held before it, or a part of that, was forgotten, since the stamps do not go on from there.
    """

    cause: str = ''
    is_new_stream: bool = False

    def __bool__(self) -> bool:
        return not self.cause


@dataclass(frozen=True)
class BufferStatus:
    """What a buffer holds and what became of the other frames.

    `received`: frames taken; `dropped`: frames lost, by cause; `expired`: frames that left because
    they reached the maximum age; `skewed`: frames taken although their stamp lay in the future;
    `size_changes`: how often the image size changed; `rate_hz`: frames taken per second over the
    last five seconds; `age_ns`: see ClipBuffer.age_ns; `span_ns`: from the oldest stamp to the
    newest.
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
    span_ns: int = 0


class ClipBuffer:
    """Frames of one camera, by strictly rising stamp.

    Frames are dropped and counted by cause: `too_large` (alone over the byte cap), `late` (older
    than the newest frame), `duplicate` (with a stamp that is already there), `wild` (whose stamp
    lies far ahead of those around it); and after they were taken: `bytes` (the oldest, to keep the
    byte cap), `flushed` (by a flush), `restarted` (when the stream's clock went back), `ahead`
    (when it went back to before these few alone); and by the causes that `count_drop` is given.

    A stamp far ahead is left out unless the next one goes on from there. A stream counts as
    restarted at the RESTART_AFTER_LATE-th frame in a row that is behind the newest while their own
    stamps rise (a looping bag), or at the RESTART_AFTER_FAR-th when it lies further back than the
    buffer reaches. All older frames are dropped then, or, where the stream goes on from most of
    them, only the few that lie ahead of it.
    """

    def __init__(
        self, camera: str, config: BufferConfig, future_tolerance_ns: int = NANOSECONDS
    ) -> None:
        self.camera = camera
        self._config = config
        self._future_tolerance_ns = future_tolerance_ns
        self._lock = threading.Lock()  # guards everything below
        self._frames: list[Frame] = []
        self._stamps: list[int] = []
        self._bytes = 0
        self._late_stamps: list[int] = []
        self._arrivals_ns: deque[int] = deque(maxlen=ARRIVALS_KEPT)
        self._drop_times_ns: deque[int] = deque(maxlen=DROPS_REMEMBERED)
        self._dropped: Counter[str] = Counter()
        self._received = 0
        self._expired = 0
        self._skewed = 0
        self._size_changes = 0
        self._newest_arrival_ns = 0
        self._epoch = 0
        self._ahead_ns: int | None = None

    def add(self, frame: Frame, now_ns: int) -> Admission:
        """Takes a frame, or drops and counts it; `now_ns` is camera time. The image must not be
        written to afterwards.
        """
        image = frame.image
        if not image.flags.c_contiguous or getattr(image.base, 'nbytes', 0) > image.nbytes:
            # A view would keep the larger array behind it alive, which the byte cap does not see.
            frame = Frame(frame.stamp_ns, image.copy(), frame.camera, frame.frame_id)
        with self._lock:
            epoch = self._epoch
            cause = self._refusal(frame, now_ns)
            if cause:
                self._drop(cause, frame.stamp_ns)
                return Admission(cause)
            self._append(frame, now_ns)
            return Admission(is_new_stream=epoch != self._epoch)

    def count_drop(self, cause: str, stamp_ns: int) -> None:
        """Counts a frame that was lost before it came here; `stamp_ns`: its stamp, or the time of
        its arrival.
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
        """Applies new bounds at once."""
        with self._lock:
            self._config = config
            self._future_tolerance_ns = future_tolerance_ns
            self._trim()

    def newest_clip(self, choice: ClipConfig) -> Clip | None:
        """Returns the newest frames, all of the newest one's size, with stamps in
        (newest - seconds, newest], thinned by `clip_frames`; None when the buffer is empty.
        """
        with self._lock:
            if not self._frames:
                return None
            seconds_ns = round(choice.seconds * NANOSECONDS)
            frames = self._frames[bisect_right(self._stamps, self._stamps[-1] - seconds_ns) :]
        return Clip(self.camera, clip_frames(runs_of_equal_size(frames)[-1], choice, seconds_ns))

    def interval_clip(self, interval: Interval, choice: ClipConfig) -> Clip | None:
        """Returns the frames of an interval, both ends included, thinned by `clip_frames`; None
        without frames. `choice.seconds` does not bound it.

        Where the size changes inside the interval, the clip is the run of equal size with the most
        frames, the newer one when equal.
        """
        with self._lock:
            frames = self._frames[self._indices(interval)]
        if not frames:
            return None
        longest = max(reversed(runs_of_equal_size(frames)), key=len)
        return Clip(self.camera, clip_frames(longest, choice))

    def has_one_size(self, interval: Interval) -> bool:
        """Returns False when the image size changes inside the interval, so that a clip of it is
        cut.
        """
        with self._lock:
            frames = self._frames[self._indices(interval)]
        return len(runs_of_equal_size(frames)) <= 1

    def has_frames(self, interval: Interval) -> bool:
        """Returns whether the interval holds a frame, both ends included."""
        with self._lock:
            return bool(self._frames[self._indices(interval)])

    def newer_than(self, stamp_ns: int | None, epoch: int) -> tuple[int, tuple[Frame, ...]]:
        """Returns the epoch, which is the number of times that everything was forgotten, and the
        frames after a stamp (None: all frames).

        Where the epoch is not `epoch`, the stamp belongs to a stream that is gone, and all frames
        are returned.
        """
        with self._lock:
            is_known = stamp_ns is not None and epoch == self._epoch
            first = bisect_right(self._stamps, stamp_ns) if is_known and stamp_ns is not None else 0
            return self._epoch, tuple(self._frames[first:])

    def span(self) -> Interval | None:
        """Returns the stamps of the oldest and the newest frame; None when the buffer is empty."""
        with self._lock:
            return Interval(self._stamps[0], self._stamps[-1]) if self._stamps else None

    def age_ns(self, now_ns: int) -> int | None:
        """Returns the age of the newest frame by its stamp, or by its arrival where its stamp lies
        ahead of that; None when the buffer is empty. `now_ns` is camera time.
        """
        with self._lock:
            return self._age_ns(now_ns)

    def since_arrival_ns(self, now_ns: int) -> int | None:
        """Returns how long ago the newest frame arrived; None when the buffer is empty."""
        with self._lock:
            return now_ns - self._newest_arrival_ns if self._stamps else None

    def stream_time_ns(self, now_ns: int) -> int:
        """Returns what time it is by the clock of the stamps, which may differ from `now_ns`;
        `now_ns` when the buffer is empty.
        """
        with self._lock:
            if not self._stamps:
                return now_ns
            return self._stamps[-1] + now_ns - self._newest_arrival_ns

    def dropped_between(self, start_ns: int, end_ns: int) -> int:
        """Returns how many of the last DROPS_REMEMBERED dropped frames have a stamp in the stretch,
        both ends included.
        """
        with self._lock:
            return sum(start_ns <= time_ns <= end_ns for time_ns in self._drop_times_ns)

    def status(self, now_ns: int) -> BufferStatus:
        """Returns a snapshot; `now_ns` is camera time."""
        with self._lock:
            return BufferStatus(
                camera=self.camera,
                frames=len(self._frames),
                bytes=self._bytes,
                newest_ns=self._stamps[-1] if self._stamps else None,
                age_ns=self._age_ns(now_ns),
                rate_hz=self._rate_hz(now_ns),
                received=self._received,
                expired=self._expired,
                skewed=self._skewed,
                size_changes=self._size_changes,
                dropped=dict(self._dropped),
                span_ns=self._stamps[-1] - self._stamps[0] if self._stamps else 0,
            )

    # --- under the lock ---------------------------------------------------------------------------

    def _indices(self, interval: Interval) -> slice:
        return slice(
            bisect_left(self._stamps, interval.start_ns),
            bisect_right(self._stamps, interval.end_ns),
        )

    def _append(self, frame: Frame, now_ns: int) -> None:
        self._late_stamps.clear()
        self._ahead_ns = None
        self._skewed += frame.stamp_ns > now_ns + self._future_tolerance_ns
        self._size_changes += bool(self._frames) and self._frames[-1].size != frame.size
        self._frames.append(frame)
        self._stamps.append(frame.stamp_ns)
        self._bytes += frame.image.nbytes
        self._received += 1
        self._newest_arrival_ns = now_ns
        self._arrivals_ns.append(now_ns)
        self._trim()

    def _refusal(self, frame: Frame, now_ns: int) -> str:
        """Returns why the frame is not taken, '' when it is."""
        if frame.image.nbytes > self._config.max_bytes:
            return 'too_large'
        if not self._stamps or frame.stamp_ns > self._stamps[-1]:
            return 'wild' if self._is_wild(frame.stamp_ns, now_ns) else ''
        if self._has_restarted(frame.stamp_ns):
            return ''
        return 'duplicate' if frame.stamp_ns in self._stamps else 'late'

    def _is_wild(self, stamp_ns: int, now_ns: int) -> bool:
        """Returns whether a stamp lies too far ahead to be believed before another confirms it."""
        if len(self._stamps) < 3:
            return False
        recent = self._stamps[-9:]
        usual_ns = statistics.median(b - a for a, b in zip(recent, recent[1:], strict=False))
        ahead_ns = stamp_ns - recent[-1]
        waited_ns = max(0, now_ns - self._newest_arrival_ns)
        if ahead_ns <= max(JUMP_NS + waited_ns, JUMP_INTERVALS * usual_ns):
            return False
        if self._ahead_ns is not None and stamp_ns > self._ahead_ns:
            return False
        self._ahead_ns = stamp_ns
        return True

    def _has_restarted(self, stamp_ns: int) -> bool:
        """Handles a stamp that is not above the newest: when the stream does not go on from there,
        drops what it does not go on from, and returns True.
        """
        newest_ns = self._stamps[-1]
        if stamp_ns == newest_ns:
            return False
        is_rising = bool(self._late_stamps) and stamp_ns > self._late_stamps[-1]
        self._late_stamps = [*self._late_stamps, stamp_ns] if is_rising else [stamp_ns]
        is_far = stamp_ns < newest_ns - self._seconds_ns
        if len(self._late_stamps) < (RESTART_AFTER_FAR if is_far else RESTART_AFTER_LATE):
            return False
        first_late_ns = self._late_stamps[0]
        kept = bisect_left(self._stamps, first_late_ns)
        goes_on = kept > 0 and first_late_ns - self._stamps[kept - 1] <= self._seconds_ns
        if goes_on and len(self._stamps) - kept < RESTART_AFTER_LATE:
            self._forget_ahead(kept)
        else:
            self._forget_all('restarted')
        return True

    def _forget_ahead(self, kept: int) -> None:
        """Drops the few frames after the first `kept` ones, which lie ahead of the stream."""
        for frame in self._frames[kept:]:
            self._drop('ahead', frame.stamp_ns)
            self._bytes -= frame.image.nbytes
        del self._frames[kept:], self._stamps[kept:]
        self._late_stamps = []
        self._epoch += 1

    @property
    def _seconds_ns(self) -> int:
        return round(self._config.seconds * NANOSECONDS)

    def _forget_all(self, cause: str) -> None:
        for stamp_ns in self._stamps:
            self._drop(cause, stamp_ns)
        self._frames = []
        self._stamps = []
        self._late_stamps = []
        self._bytes = 0
        self._epoch += 1
        self._arrivals_ns.clear()
        self._drop_times_ns.clear()

    def _trim(self) -> None:
        if not self._frames:
            return
        oldest_ns = self._stamps[-1] - self._seconds_ns
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
