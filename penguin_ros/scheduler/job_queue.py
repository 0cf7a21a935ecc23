# SPDX-License-Identifier: Apache-2.0
"""Who is next: questions first come first served, then captions, then work ahead, both camera by
camera.

Knows no thread: its owner holds a lock around every call. Times are of the steady clock.

Jobs of several cameras that take turns: one runs, one per camera waits. Knows no clock and no other
kinds of jobs.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque

from penguin_ros.errors import Busy, DuplicateRequest, PenguinError, RequestReplaced
from penguin_ros.request import Priority
from penguin_ros.scheduler.job import Entry, Job, SchedulerStats


class RoundRobin:
    """Whose last turn is the longest ago is next; who never had one goes first; among equals, who
    has waited longest.

    A newer job takes the place in the line of the one that it replaces. A turn that was taken away
    (Entry.keeps_its_turn) does not count.
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
            if not entry.keeps_its_turn:
                self._last_turns[entry.job.key] = next(self._numbers)


class JobQueue:
    """Waiting and started jobs. At most one of each priority is started; it rests while more urgent
    ones run.

    Bounded: `length` waiting questions (one more is Busy), per key one waiting caption and one
    waiting piece of work ahead; see Turns for their order. Captions have no share of their own:
    they wait as long as questions do, which is counted. With `can_preempt` false (one KV slot) a
    started caption does not rest but is given up for a question.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.can_preempt = True
        self.counts: Counter[str] = Counter()
        self._entries: dict[str, Entry] = {}
        self._questions: deque[Entry] = deque()
        self._captions, self._ahead = RoundRobin(), RoundRobin()
        self._question: Entry | None = None

    def snapshot(self) -> SchedulerStats:
        """What waits, what runs, and all counts."""
        return SchedulerStats(
            len(self._questions),
            self._captions.waiting,
            int(self._question is not None),
            int(self._captions.running is not None),
            **self.counts,
        )

    def entries(self) -> list[Entry]:
        """Every job that has not ended, in order of arrival."""
        return list(self._entries.values())

    def find(self, job_id: str) -> Entry | None:
        """The job of that id, unless it has ended."""
        return self._entries.get(job_id)

    def is_preempted(self, entry: Entry) -> bool:
        """True for a started caption that questions keep from going on."""
        return entry is self._captions.running and entry.preempted_since_ns is not None

    def add(self, job: Job) -> None:
        """Puts a job in line; DuplicateRequest, Busy."""
        if job.id in self._entries:
            raise DuplicateRequest(
                f'request {job.id} is queued or running',
                'an id names one request at a time',
                'Use another id, or leave it empty to get one',
            )
        entry = Entry(job)
        if job.priority == Priority.QUESTION:
            self._add_question(entry)
        elif job.priority == Priority.CAPTION:
            self._replace(
                self._captions.add(entry),
                'a newer caption took the place of this one',
                'captions_replaced',
            )
        else:
            self._replace(self._ahead.add(entry), 'newer frames have come', 'precomputes_replaced')
        self._entries[job.id] = entry

    def next(self, now_ns: int) -> Entry | None:
        """The job to advance by a step: of the most urgent kind that has one, the started one
        before the next.
        """
        caption = self._captions.running
        if self._question is None and self._questions:
            self._question = self._questions.popleft()
            self.counts['captions_delayed'] += caption is not None or self._captions.waiting > 0
        if self._question is not None:
            if caption is not None:
                self.counts['captions_preempted'] += caption.preempted_since_ns is None
                caption.preempt(now_ns)
            return self._question
        if caption is not None:
            caption.resume(now_ns)
        return self._captions.next() or self._ahead.next()

    def end(self, entry: Entry, error: PenguinError) -> None:
        """Marks a job to be ended with `error`, unless it already is; a waiting one leaves the line
        at once.
        """
        if entry.ending is None:
            entry.ending = error
            self._leave_line(entry)

    def remove(self, entry: Entry) -> bool:
        """Forgets a job; False when it was gone before, so that only one caller ends it."""
        if self._entries.get(entry.job.id) is not entry:
            return False
        del self._entries[entry.job.id]
        self._leave_line(entry)
        if entry is self._question:
            self._question = None
        self._captions.remove(entry)
        self._ahead.remove(entry)
        return True

    def _leave_line(self, entry: Entry) -> None:
        if entry in self._questions:
            self._questions.remove(entry)
        self._captions.leave_line(entry)
        self._ahead.leave_line(entry)

    def _add_question(self, entry: Entry) -> None:
        if len(self._questions) >= self.length:
            raise Busy(
                f'{self.length} questions are waiting',
                'no more may wait (question.queue_length)',
                'Ask again later',
            )
        self._questions.append(entry)
        caption = self._captions.running
        if caption is not None and not self.can_preempt:
            caption.keeps_its_turn = True
            self.end(
                caption,
                RequestReplaced(
                    'the caption was given up for a question',
                    'there is one KV slot only',
                    'Set model.kv_slots to 2 or more',
                ),
            )

    def _replace(self, waiting: Entry | None, what: str, count: str) -> None:
        if waiting is not None:
            waiting.ending = RequestReplaced(what, 'it had not been started')
            self.counts[count] += 1
