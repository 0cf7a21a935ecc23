# SPDX-License-Identifier: Apache-2.0
"""Records what happened on one camera's topic, to the end of each message's way: used, or refused
and why; losses, rates, clocks.

Times are steady nanoseconds, stamps and `ros_ns` are ROS time. One thread writes (the executor's),
any thread may read.
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from dataclasses import dataclass, field

from penguin_ros.frame import NANOSECONDS

WINDOW_NS = 10 * NANOSECONDS
"""Losses, and shares of messages that could be used, are judged over this time."""
LEAST_JUDGED = 4
"""The share is taken of no fewer messages, however old they are."""
SKEWS_KEPT = 3
INTERVALS_KEPT = 8


def _rate_hz(times_ns: list[int], now_ns: int) -> float:
    """Returns the events per second; the rate falls as time goes on without one."""
    if len(times_ns) < 2:
        return 0.0
    elapsed_ns = times_ns[-1] - times_ns[0]
    waited_ns = max(0, now_ns - times_ns[-1] - elapsed_ns // (len(times_ns) - 1))
    return (len(times_ns) - 1) * NANOSECONDS / max(1, elapsed_ns + waited_ns)


@dataclass(frozen=True)
class Refusals:
    """The messages of late: `refused` of `total` could not be used, the last `in_row` of them one
    after the other, most of them for `cause`.
    """

    refused: int = 0
    total: int = 0
    in_row: int = 0
    cause: str = ''

    @property
    def are_most(self) -> bool:
        """Whether more than half were refused."""
        return 2 * self.refused > self.total


@dataclass
class CameraStats:
    """Counts since the start of a camera input, and the newest of everything.

    `received` is `used` plus the sum of `drops`, apart from a message that is being handled.
    """

    received: int = 0
    used: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    zero_stamps: int = 0
    last_zero_stamp_ns: int | None = None
    lost: int = 0
    """Samples that the middleware knows it has lost on the way to this subscription."""
    last_reasons: dict[str, str] = field(default_factory=dict)
    """The newest sentence of each cause."""
    newest_stamp_ns: int | None = None
    newest_ros_ns: int = 0
    """ROS time when the newest frame arrived."""
    last_frame_ns: int | None = None
    last_arrival_ns: int | None = None
    message_bytes: int = 0
    """Size of the last message's pixels."""
    has_undefined_colours: bool = False
    """The last message was refused for what its samples are; another topic would only hide that."""
    _taken_ns: deque[int] = field(default_factory=lambda: deque(maxlen=20))
    _published: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=20))
    _losses: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=1000))
    _outcomes: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=1000))
    _skews_ns: deque[int] = field(default_factory=lambda: deque(maxlen=SKEWS_KEPT))
    _used_ns: deque[int] = field(default_factory=lambda: deque(maxlen=INTERVALS_KEPT))
    _last_new_stream_ns: int | None = None

    def note_arrival(self, now_ns: int, message_bytes: int, sequence: int | None) -> None:
        """Records that a message was taken.

        `sequence` is its number at the publisher, None where the middleware does not tell.
        """
        self.received += 1
        self.last_arrival_ns = now_ns
        self.message_bytes = message_bytes
        self._taken_ns.append(now_ns)
        if sequence is None or (self._published and sequence <= self._published[-1][1]):
            self._published.clear()  # another publisher, or one that restarted
        if sequence is not None:
            self._published.append((now_ns, sequence))

    def note_frame(
        self, now_ns: int, stamp_ns: int, ros_ns: int, is_new_stream: bool = False
    ) -> None:
        """Records that the message became a frame that is used.

        The late ones that only showed that a stream began anew are no fault of the camera, unless
        that comes again and again, or most messages are refused anyway.
        """
        if is_new_stream:
            last_ns = self._last_new_stream_ns
            refusals = self.refusals(now_ns)
            is_rare = last_ns is None or now_ns - last_ns > WINDOW_NS
            if is_rare and not refusals.are_most:
                while self._outcomes and self._outcomes[-1][1] == 'late':
                    self._outcomes.pop()
            self._last_new_stream_ns = now_ns
        self.used += 1
        self.has_undefined_colours = False
        self._outcomes.append((now_ns, ''))
        self._skews_ns.append(ros_ns - stamp_ns)
        self._used_ns.append(now_ns)
        self.last_frame_ns = now_ns
        self.newest_stamp_ns = stamp_ns
        self.newest_ros_ns = ros_ns

    def note_zero_stamp(self, now_ns: int) -> None:
        """Records that a frame carried no stamp."""
        self.zero_stamps += 1
        self.last_zero_stamp_ns = now_ns

    def note_drop(
        self, now_ns: int, cause: str, reason: str, has_undefined_colours: bool = False
    ) -> None:
        """Records that the message did not become a frame that is used."""
        self.drops[cause] += 1
        self.last_reasons[cause] = reason
        self.has_undefined_colours = has_undefined_colours
        self._outcomes.append((now_ns, cause))

    def note_lost(self, now_ns: int, count: int) -> None:
        """Records samples that the middleware reports as lost in transport."""
        self.lost += count
        self._losses.append((now_ns, count))

    def forget_clock(self) -> None:
        """Forgets what was based on ROS time, which has jumped."""
        self.newest_stamp_ns = None
        self._skews_ns.clear()

    def refusals(self, now_ns: int) -> Refusals:
        """Returns what became of the messages of late."""
        outcomes = list(self._outcomes)
        recent = [cause for time_ns, cause in outcomes if now_ns - time_ns <= WINDOW_NS]
        latest = [cause for _, cause in outcomes[-LEAST_JUDGED:]]
        judged = recent if len(recent) > len(latest) else latest
        causes = Counter(cause for cause in judged if cause)
        used = [number for number, cause in enumerate(judged) if not cause]
        return Refusals(
            sum(causes.values()),
            len(judged),
            len(judged) - 1 - used[-1] if used else len(judged),
            causes.most_common(1)[0][0] if causes else '',
        )

    def skew_ns(self) -> int | None:
        """Returns by how much stamps lay behind ROS time when their frames arrived, negative when
        ahead: the least of the last ones, None before the first.
        """
        return min(self._skews_ns, key=abs, default=None)

    def age_ns(self, ros_ns: int) -> int | None:
        """Returns the age of the newest frame, as questions about the present see it: by its stamp,
        or by its arrival where its stamp lies ahead of that.
        """
        if self.newest_stamp_ns is None:
            return None
        return ros_ns - min(self.newest_stamp_ns, self.newest_ros_ns)

    def interval_ns(self) -> int | None:
        """Returns the usual time between two frames; None before the second."""
        times = list(self._used_ns)
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        return round(statistics.median(gaps)) if gaps else None

    def rate_hz(self, now_ns: int) -> float:
        """Returns the messages taken per second lately."""
        return _rate_hz(list(self._taken_ns), now_ns)

    def publish_rate_hz(self) -> float:
        """Returns the messages published per second lately; 0 when that is not known."""
        published = list(self._published)
        if len(published) < 2:
            return 0.0
        (first_ns, first), (last_ns, last) = published[0], published[-1]
        return (last - first) * NANOSECONDS / max(1, last_ns - first_ns)

    def lost_lately(self, now_ns: int) -> int:
        """Returns the samples lost within WINDOW_NS."""
        return sum(count for time_ns, count in list(self._losses) if now_ns - time_ns < WINDOW_NS)
