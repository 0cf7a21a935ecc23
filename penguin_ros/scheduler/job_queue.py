# SPDX-License-Identifier: Apache-2.0
"""Where jobs wait and where they end: `JobQueue` says which one is next, `Finalizer` ends each
exactly once.

The order: questions, first come first served; then captions, then background work, both camera by
camera in turns. The queue knows no thread: its owner holds a lock around every call. Times are
those of the steady clock.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial

from penguin_ros.errors import (
    BackendError,
    Busy,
    DuplicateRequest,
    PenguinError,
    RequestReplaced,
)
from penguin_ros.request import Priority
from penguin_ros.scheduler.job import Entry, Job, SchedulerStats

Log = Callable[[str, BaseException], None]
"""Gets a sentence and the exception behind it."""

OUTCOMES = {
    (Priority.QUESTION, True): 'questions_finished',
    (Priority.QUESTION, False): 'questions_failed',
    (Priority.CAPTION, True): 'captions_finished',
    (Priority.CAPTION, False): 'captions_dropped',
    (Priority.BACKGROUND, True): 'precomputes_finished',
    (Priority.BACKGROUND, False): 'precomputes_dropped',
}
"""The counter of SchedulerStats by priority and whether the job finished."""


class JobQueue:
    """Waiting and started jobs. At most one of each priority is started; it is preempted while more
    urgent ones run (see Job).

    The queue is bounded: `length` waiting questions (one more is Busy), per key one waiting caption
    and one waiting piece of background work; see RoundRobin for their order. Captions have no share
    of the time of their own: they wait as long as questions do, which is counted. With
    `can_preempt` False (one KV slot) a started caption is not preempted but given up for a
    question.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.can_preempt = True
        self.counts: Counter[str] = Counter()
        self._entries: dict[str, Entry] = {}
        self._questions: deque[Entry] = deque()
        self._question: Entry | None = None
        self._captions = RoundRobin()
        self._background = RoundRobin()

    def stats(self) -> SchedulerStats:
        """Returns what waits, what runs, and all counts."""
        return SchedulerStats(
            len(self._questions),
            self._captions.waiting,
            int(self._question is not None),
            int(self._captions.running is not None),
            **self.counts,
        )

    def entries(self) -> list[Entry]:
        """Returns every job that has not ended, in order of arrival."""
        return list(self._entries.values())

    def find(self, job_id: str) -> Entry | None:
        """Returns the job of that id, None when it is not known or has ended."""
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
            what = 'a newer caption took the place of this one'
            self._replace(self._captions.add(entry), what, 'captions_replaced')
        else:
            replaced = self._background.add(entry)
            self._replace(replaced, 'newer frames have come', 'precomputes_replaced')
        self._entries[job.id] = entry

    def next(self, now_ns: int) -> Entry | None:
        """Returns the job to advance by a step: of the most urgent kind that has one, the started
        job before the next one.
        """
        caption = self._captions.running
        if self._question is None and self._begin_question():
            self.counts['captions_delayed'] += caption is not None or self._captions.waiting > 0
        if self._question is not None:
            if caption is not None:
                self.counts['captions_preempted'] += caption.preempted_since_ns is None
                caption.preempt(now_ns)
            return self._question
        if caption is not None:
            caption.resume(now_ns)
        return self._captions.next() or self._background.next()

    def end(self, entry: Entry, error: PenguinError) -> None:
        """Marks a job to be ended with `error`, unless it already is; a waiting one leaves the line
        at once.
        """
        if entry.ending is None:
            entry.ending = error
            self._leave_line(entry)

    def remove(self, entry: Entry) -> bool:
        """Forgets a job; returns False when it was gone before, so that only one caller ends it."""
        if self._entries.get(entry.job.id) is not entry:
            return False
        del self._entries[entry.job.id]
        self._leave_line(entry)
        if entry is self._question:
            self._question = None
        self._captions.remove(entry)
        self._background.remove(entry)
        return True

    def _begin_question(self) -> bool:
        """Begins the first question in line that is ready; returns False without one."""
        self._question = next((entry for entry in self._questions if entry.job.is_ready), None)
        if self._question is not None:
            self._questions.remove(self._question)
        return self._question is not None

    def _leave_line(self, entry: Entry) -> None:
        if entry in self._questions:
            self._questions.remove(entry)
        self._captions.leave_line(entry)
        self._background.leave_line(entry)

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
            error = RequestReplaced(
                'the caption was given up for a question',
                'there is one KV slot only',
                'Set model.kv_slots to 2 or more',
            )
            self.end(caption, error)

    def _replace(self, waiting: Entry | None, what: str, count: str) -> None:
        if waiting is not None:
            waiting.ending = RequestReplaced(what, 'it had not been started')
            self.counts[count] += 1


class RoundRobin:
    """Jobs of several cameras that take turns: one runs, one per camera waits.

    The camera whose last turn is the longest ago is next; one that never had a turn goes first;
    among equals, the one that has waited longest. A newer job takes the place in the line of the
    job that it replaces. A turn that was taken away (Entry.keeps_its_turn) does not count.
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
        """Puts a job in line; returns the job that it replaces, if any."""
        replaced = self._waiting.get(entry.job.key)
        self._waiting[entry.job.key] = entry
        return replaced

    def next(self) -> Entry | None:
        """Returns the job that runs; when none does, the next one begins."""
        if self.running is None and self._waiting:
            key = min(self._waiting, key=lambda name: self._last_turns.get(name, 0))
            self.running = self._waiting.pop(key)
        return self.running

    def leave_line(self, entry: Entry) -> None:
        """Takes a job out of the line if it waits."""
        if self._waiting.get(entry.job.key) is entry:
            del self._waiting[entry.job.key]

    def remove(self, entry: Entry) -> None:
        """Forgets a job that has ended."""
        self.leave_line(entry)
        if entry is self.running:
            self.running = None
            if not entry.keeps_its_turn:
                self._last_turns[entry.job.key] = next(self._numbers)


class Finalizer:
    """The one place where jobs end, each exactly once. It ends jobs of `queue`, whose lock is in
    `changed`.

    `delivering` counts the jobs whose `finish` or `abort` is being called at this moment.
    """

    def __init__(self, queue: JobQueue, changed: threading.Condition, log: Log) -> None:
        self.delivering = 0
        self._queue = queue
        self._changed = changed
        self._log = log
        self._abandoned: list[Generator[None, None, None]] = []

    def finalize(self, entry: Entry, error: PenguinError | None) -> None:
        """Calls `finish`, or `abort` with an error, unless another thread did; any thread."""
        job = entry.job
        with self._changed:
            if not self._queue.remove(entry):
                return
            self._queue.counts[OUTCOMES[job.priority, error is None]] += 1
            self.delivering += 1
        if error is None:
            self.guard(f'finishing request {job.id}', job.finish)
        else:
            self.guard(f'aborting request {job.id}', partial(job.abort, error))
        with self._changed:
            self.delivering -= 1
            self._changed.notify_all()

    def close_and_finalize(self, entry: Entry, error: PenguinError) -> None:
        """Lets a started job free what it holds, then aborts it; worker thread."""
        if entry.generator is not None:
            self._close_generator(entry.generator, error)
        self.finalize(entry, error)

    def abandon(self, entry: Entry, error: PenguinError) -> None:
        """Aborts a job while the worker is stuck in a step. Its generator belongs to the worker,
        which closes it later.
        """
        with self._changed:
            self.note_abandoned(entry)
        self.finalize(entry, error)

    def note_abandoned(self, entry: Entry) -> None:
        """Notes a started job for `close_abandoned`; under the lock."""
        if entry.generator is not None:
            self._abandoned.append(entry.generator)

    def close_abandoned(self, error: PenguinError) -> None:
        """Frees what jobs hold that were aborted from outside; worker thread, between steps."""
        with self._changed:
            abandoned, self._abandoned = self._abandoned, []
        for generator in abandoned:
            self._close_generator(generator, error)

    def wrapped(self, what: str, error: BaseException) -> BackendError:
        """Counts and logs an exception that is no PenguinError, and makes a BackendError of it."""
        self._report('job_failures', what, error)
        wrapped = BackendError(what, repr(error), 'The log has the details')
        wrapped.__cause__ = error
        return wrapped

    def guard(self, what: str, call: Callable[[], None]) -> None:
        """Makes a call whose exception is counted and logged, no more."""
        try:
            call()
        except Exception as error:
            self._report('callback_failures', f'{what} failed', error)

    def _close_generator(self, generator: Generator[None, None, None], error: PenguinError) -> None:
        try:
            generator.throw(error)
            generator.close()
        except StopIteration:
            pass
        except Exception as raised:
            if raised is not error:
                self._report('job_failures', 'a request failed while it was ended', raised)

    def _report(self, count: str, what: str, error: BaseException) -> None:
        with self._changed:
            self._queue.counts[count] += 1
        with suppress(Exception):  # a log that fails must not end the worker
            self._log(what, error)
