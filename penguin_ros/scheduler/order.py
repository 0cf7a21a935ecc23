# SPDX-License-Identifier: Apache-2.0
"""How jobs of one urgency take turns camera by camera, and how rules and captions share the time.

Neither knows a thread: their owner holds a lock around every call. Times are those of the steady
clock.
"""

from __future__ import annotations

import itertools

from penguin_ros.request import Priority
from penguin_ros.scheduler.job import Entry

QUANTUM_NS = 250_000_000
"""So much more than their share rules may take before a caption goes on."""


class RoundRobin:
    """Jobs of several cameras that take turns: one runs, one per camera waits.

    The camera whose last turn is the longest ago is next; one that never had a turn goes first;
    among equals, the one that has waited longest. While a job of a camera is parked, none of it
    begins; a parked job that is ready goes on before others. A newer job takes the place in the
    line of the job that it replaces. A turn that was taken away (Entry.keeps_its_turn) does not
    count.
    """

    def __init__(self) -> None:
        self.running: Entry | None = None
        self._waiting: dict[str, Entry] = {}
        self._parked: dict[str, Entry] = {}
        self._last_turns: dict[str, int] = {}
        self._numbers = itertools.count(1)

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return len(self._waiting)

    def add(self, entry: Entry) -> Entry | None:
        """Puts a job in line; returns the job that it replaces, if any."""
        replaced = self._waiting.get(entry.job.key)
        self._waiting[entry.job.key] = entry
        return replaced

    @property
    def parked(self) -> int:
        """Number of jobs that are parked."""
        return len(self._parked)

    @property
    def has_next(self) -> bool:
        """Whether `next` returns a job."""
        return self.running is not None or self._ready() is not None or bool(self._free())

    def next(self) -> Entry | None:
        """Returns the job that runs; when none does, the next one begins."""
        if self.running is None:
            ready, free = self._ready(), self._free()
            if ready is not None:
                self.running = self._parked.pop(ready)
            elif free:
                key = min(free, key=lambda name: self._last_turns.get(name, 0))
                self.running = self._waiting.pop(key)
        return self.running

    def park(self, entry: Entry) -> None:
        """Sets the job that runs aside."""
        if entry is self.running:
            self.running = None
            self._parked[entry.job.key] = entry

    def _ready(self) -> str | None:
        return next((key for key, each in self._parked.items() if each.job.is_ready), None)

    def _free(self) -> list[str]:
        return [key for key in self._waiting if key not in self._parked]

    def leave_line(self, entry: Entry) -> None:
        """Takes a job out of the line if it waits."""
        if self._waiting.get(entry.job.key) is entry:
            del self._waiting[entry.job.key]

    def remove(self, entry: Entry) -> None:
        """Forgets a job that has ended."""
        self.leave_line(entry)
        is_parked = self._parked.get(entry.job.key) is entry
        if is_parked:
            del self._parked[entry.job.key]
        if entry is self.running or is_parked:
            self.running = None if entry is self.running else self.running
            if not entry.keeps_its_turn:
                self._last_turns[entry.job.key] = next(self._numbers)


class RuleShare:
    """Keeps rules, which go before captions, from taking more than `share` (0..1] of the time that
    both want, so that captions never wait for ever.

    What rules take above their share while a caption waits is counted; above QUANTUM_NS captions go
    first until they have made up for it. With a share of 1 captions wait as long as rules do.
    """

    def __init__(self, share: float = 0.5) -> None:
        self.share = share
        self.is_turn_of_captions = False
        self._ahead_ns = 0.0

    def note_step(self, priority: Priority, duration_ns: int, has_caption: bool) -> None:
        """Notes a step; `has_caption`: a caption waits or has been started."""
        if priority is Priority.RULE and has_caption:
            self._ahead_ns += duration_ns * (1.0 - self.share)
        elif priority is Priority.CAPTION:
            self._ahead_ns -= duration_ns * self.share
        self._ahead_ns = min(max(0.0, self._ahead_ns), 8.0 * QUANTUM_NS)
        if self._ahead_ns == 0.0:
            self.is_turn_of_captions = False
        elif self._ahead_ns > QUANTUM_NS:
            self.is_turn_of_captions = True
