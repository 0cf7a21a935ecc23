# SPDX-License-Identifier: Apache-2.0
"""Records what happened on one camera's topic: frames, drops, losses, rates.

Times are steady nanoseconds. One thread writes (the executor's), any thread may read.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from penguin_ros.frame import NANOSECONDS

WINDOW_NS = 10 * NANOSECONDS
"""Losses are judged over this time."""


def _rate_hz(times_ns: list[int], now_ns: int) -> float:
    """Returns the events per second; the rate falls as time goes on without one."""
    if len(times_ns) < 2:
        return 0.0
    elapsed_ns = times_ns[-1] - times_ns[0]
    waited_ns = max(0, now_ns - times_ns[-1] - elapsed_ns // (len(times_ns) - 1))
    return (len(times_ns) - 1) * NANOSECONDS / max(1, elapsed_ns + waited_ns)


@dataclass
class CameraStats:
    """Counts since the start of a camera input, and the newest of everything."""

    drops: Counter[str] = field(default_factory=Counter)
    zero_stamps: int = 0
    last_zero_stamp_ns: int | None = None
    lost: int = 0
    """Samples that the middleware knows it has lost on the way to this subscription."""
    rejected_in_row: int = 0
    last_reject: str = ''
    last_reject_cause: str = ''
    newest_stamp_ns: int | None = None
    last_frame_ns: int | None = None
    last_arrival_ns: int | None = None
    message_bytes: int = 0
    """Size of the last message's pixels."""
    _taken_ns: deque[int] = field(default_factory=lambda: deque(maxlen=20))
    _published: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=20))
    _losses: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=1000))

    def note_arrival(self, now_ns: int, message_bytes: int, sequence: int | None) -> None:
        """Records that a message was taken.

        `sequence` is its number at the publisher, None where the middleware does not tell.
        """
        self.last_arrival_ns = now_ns
        self.message_bytes = message_bytes
        self._taken_ns.append(now_ns)
        if sequence is None or (self._published and sequence <= self._published[-1][1]):
            self._published.clear()  # another publisher, or one that restarted
        if sequence is not None:
            self._published.append((now_ns, sequence))

    def note_frame(self, now_ns: int, stamp_ns: int) -> None:
        """Records that the message became a frame."""
        self.rejected_in_row = 0
        self.last_frame_ns = now_ns
        self.newest_stamp_ns = stamp_ns

    def note_zero_stamp(self, now_ns: int) -> None:
        """Records that a frame carried no stamp."""
        self.zero_stamps += 1
        self.last_zero_stamp_ns = now_ns

    def note_drop(self, cause: str, reason: str) -> None:
        """Records that the message did not become a frame."""
        self.drops[cause] += 1
        self.rejected_in_row += 1
        self.last_reject = reason
        self.last_reject_cause = cause

    def note_lost(self, now_ns: int, count: int) -> None:
        """Records samples that the middleware reports as lost in transport."""
        self.lost += count
        self._losses.append((now_ns, count))

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
