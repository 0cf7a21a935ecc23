# SPDX-License-Identifier: Apache-2.0
"""Jobs of several cameras that take turns: one runs, one per camera waits. Knows no clock and no other kinds of jobs."""
from __future__ import annotations

import itertools

from penguin_ros.scheduler.job import Entry


class Turns:
    """Whose last turn is the longest ago is next; who never had one goes first; among equals, who has waited longest.

    A newer job takes the place in the line of the one that it replaces. A turn that was taken away (Entry.keeps_turn) does not
    count.
    """

    def __init__(self) -> None:
        self.running: Entry | None = None
        self._waiting: dict[str, Entry] = {}
        self._last_turns: dict[str, int] = {}
        self._numbers = itertools.count(1)

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return len(self._waiting)

    def add(self, entry: Entry) -> Entry | None:
        """Puts a job in line; the one that it replaces, if any."""
        replaced = self._waiting.get(entry.job.key)
        self._waiting[entry.job.key] = entry
        return replaced

    def next(self) -> Entry | None:
        """The job that runs; the next one begins when none does."""
        if self.running is None and self._waiting:
            key = min(self._waiting, key=lambda name: self._last_turns.get(name, 0))
            self.running = self._waiting.pop(key)
        return self.running

    def leave_line(self, entry: Entry) -> None:
        """Takes a job out of the line if it waits."""
        if self._waiting.get(entry.job.key) is entry:
            del self._waiting[entry.job.key]

    def remove(self, entry: Entry) -> None:
        """The job has ended."""
        self.leave_line(entry)
        if entry is self.running:
            self.running = None
            if not entry.keeps_turn:
                self._last_turns[entry.job.key] = next(self._numbers)
