# SPDX-License-Identifier: Apache-2.0
"""Where jobs wait and where they end: `JobQueue` says which one is next, `Finalizer` ends each
exactly once.

The order: questions, first come first served; then rules, captions and background work, each
camera by camera in turns. Where rules would take more than their share of the time, captions go
before them (see RuleShare). The queue knows no thread: its owner holds a lock around every call.
Times are those of the steady clock.
"""

from __future__ import annotations

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
from penguin_ros.scheduler.order import RoundRobin, RuleShare

Log = Callable[[str, BaseException], None]
"""Gets a sentence and the exception behind it."""

OUTCOMES = {
    (Priority.QUESTION, True): 'questions_finished',
    (Priority.QUESTION, False): 'questions_failed',
    (Priority.RULE, True): 'rules_finished',
    (Priority.RULE, False): 'rules_dropped',
    (Priority.CAPTION, True): 'captions_finished',
    (Priority.CAPTION, False): 'captions_dropped',
    (Priority.BACKGROUND, True): 'precomputes_finished',
    (Priority.BACKGROUND, False): 'precomputes_dropped',
}
"""The counter of SchedulerStats by priority and whether the job finished."""

REPLACED = {
    Priority.RULE: ('a newer evaluation took the place of this one', 'rules_replaced'),
    Priority.CAPTION: ('a newer caption took the place of this one', 'captions_replaced'),
    Priority.BACKGROUND: ('newer frames have come', 'precomputes_replaced'),
}
"""Why a waiting job gave way to a newer one, and the counter of that, by priority."""


class JobQueue:
    """Waiting and started jobs. At most one of each priority is started; it is preempted while more
    urgent ones run (see Job).

    The queue is bounded: `length` waiting or parked questions (one more is Busy), per key one
    waiting job of each other priority; see RoundRobin for their order. No more than `max_started`
    questions, rules and captions are started at once, one per KV slot, parked ones apart: for a
    question that would be one more the least urgent is given up, a rule or a caption waits instead.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.max_started = 3
        self.rule_share = RuleShare()
        self.counts: Counter[str] = Counter()
        self._entries: dict[str, Entry] = {}
        self._questions: deque[Entry] = deque()
        self._question: Entry | None = None
        self._parked_questions: list[Entry] = []
        self._lines = {
            Priority.RULE: RoundRobin(),
            Priority.CAPTION: RoundRobin(),
            Priority.BACKGROUND: RoundRobin(),
        }
        self._rules = self._lines[Priority.RULE]
        self._captions = self._lines[Priority.CAPTION]

    def stats(self) -> SchedulerStats:
        """Returns what waits, what runs, and all counts."""
        return SchedulerStats(
            questions_waiting=len(self._questions),
            captions_waiting=self._captions.waiting,
            rules_waiting=self._rules.waiting,
            questions_running=int(self._question is not None) + len(self._parked_questions),
            captions_running=int(self._captions.running is not None) + self._captions.parked,
            rules_running=int(self._rules.running is not None),
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
        if job.priority is Priority.QUESTION:
            self._add_question(entry)
        else:
            self._replace(self._lines[job.priority].add(entry), job.priority)
        self._entries[job.id] = entry

    def next(self, now_ns: int) -> Entry | None:
        """Returns the job to advance by a step: of the most urgent kind that has one, the started
        job before the next one.
        """
        chosen = self._chosen()
        for line, count in (
            (self._rules, 'rules_preempted'),
            (self._captions, 'captions_preempted'),
        ):
            started = line.running
            if started is not None and started is chosen:
                started.resume(now_ns)
            elif started is not None:
                self.counts[count] += started.preempted_since_ns is None
                started.preempt(now_ns)
        return chosen

    def park(self, entry: Entry) -> None:
        """Sets a started job aside that waits for something else than the worker (Job.is_ready)."""
        if entry is self._question:
            self._question = None
            self._parked_questions.append(entry)
        elif entry.job.priority is not Priority.QUESTION:
            self._lines[entry.job.priority].park(entry)

    def make_room(self) -> None:
        """Marks the least urgent started job to be ended when the next question would find no KV
        slot.
        """
        if self._question is None and self._first_ready() is not None and not self._has_room():
            given_up = self._captions.running or self._rules.running
            if given_up is not None:
                given_up.keeps_its_turn = True
                error = RequestReplaced(
                    f'the {given_up.job.priority.name.lower()} was given up for a question',
                    f'there are {self.max_started} KV slots, all in use'
                    if self.max_started > 1
                    else 'there is one KV slot only',
                    f'Set model.kv_slots to {self.max_started + 1} or more',
                )
                self.end(given_up, error)

    def note_step(self, entry: Entry, duration_ns: int) -> None:
        """Notes how long a step of a job took."""
        has_caption = self._captions.running is not None or self._captions.waiting > 0
        self.rule_share.note_step(entry.job.priority, duration_ns, has_caption)

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
        if entry in self._parked_questions:
            self._parked_questions.remove(entry)
        for line in self._lines.values():
            line.remove(entry)
        return True

    def _chosen(self) -> Entry | None:
        if self._question is None and self._begin_question():
            has_caption = self._captions.running is not None or self._captions.waiting > 0
            self.counts['captions_delayed'] += has_caption
        if self._question is not None:
            return self._question
        order = [self._rules, self._captions]
        if self.rule_share.is_turn_of_captions:
            order.reverse()
        for line in order:
            if line.running is not None or (line.has_next and self._has_room()):
                return line.next()
        return self._lines[Priority.BACKGROUND].next()

    def _has_room(self) -> bool:
        """Returns whether one more job may be started."""
        started = self._question, self._rules.running, self._captions.running
        return sum(entry is not None for entry in started) < self.max_started

    def _first_ready(self) -> Entry | None:
        in_order = (*self._parked_questions, *self._questions)
        return next((entry for entry in in_order if entry.job.is_ready), None)

    def _begin_question(self) -> bool:
        """Begins, or goes on with, the first question that is ready; False without one."""
        self._question = self._first_ready()
        if self._question in self._parked_questions:
            self._parked_questions.remove(self._question)
        elif self._question is not None:
            self._questions.remove(self._question)
        return self._question is not None

    def _leave_line(self, entry: Entry) -> None:
        if entry in self._questions:
            self._questions.remove(entry)
        for line in self._lines.values():
            line.leave_line(entry)

    def _add_question(self, entry: Entry) -> None:
        if len(self._questions) + len(self._parked_questions) >= self.length:
            raise Busy(
                f'{self.length} questions are waiting',
                'no more may wait (question.queue_length)',
                'Ask again later',
            )
        self._questions.append(entry)

    def _replace(self, waiting: Entry | None, priority: Priority) -> None:
        if waiting is not None:
            what, count = REPLACED[priority]
            waiting.ending = RequestReplaced(what, 'it had not been started')
            self.counts[count] += 1


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
