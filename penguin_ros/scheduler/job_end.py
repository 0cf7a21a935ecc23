# SPDX-License-Identifier: Apache-2.0
"""The one place where jobs end, each exactly once. Knows not why they end."""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial

from penguin_ros.errors import BackendError, PenguinError
from penguin_ros.request import Priority
from penguin_ros.scheduler.job import Entry
from penguin_ros.scheduler.job_queue import JobQueue

Log = Callable[[str, BaseException], None]

OUTCOMES = {(Priority.QUESTION, True): 'questions_finished', (Priority.QUESTION, False): 'questions_failed',
            (Priority.CAPTION, True): 'captions_finished', (Priority.CAPTION, False): 'captions_dropped',
            (Priority.AHEAD, True): 'ahead_finished', (Priority.AHEAD, False): 'ahead_dropped'}


class JobEnd:
    """Ends jobs of `queue`, whose lock is in `changed`; `log` gets a sentence and the exception behind it.

    `delivering` counts the jobs whose `finish` or `abort` is being called at this moment.
    """

    def __init__(self, queue: JobQueue, changed: threading.Condition, log: Log) -> None:
        self._queue, self._changed, self._log = queue, changed, log
        self._orphans: list[Generator[None, None, None]] = []
        self.delivering = 0

    def conclude(self, entry: Entry, error: PenguinError | None) -> None:
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

    def unwind_and_conclude(self, entry: Entry, error: PenguinError) -> None:
        """Lets a started job free what it holds, then aborts it; worker thread."""
        if entry.generator is not None:
            self._unwind(entry.generator, error)
        self.conclude(entry, error)

    def conclude_from_outside(self, entry: Entry, error: PenguinError) -> None:
        """Aborts a job while the worker is stuck in a step; its generator, which belongs to the worker, is unwound later."""
        with self._changed:
            self.leave_behind(entry)
        self.conclude(entry, error)

    def leave_behind(self, entry: Entry) -> None:
        """Notes a started job for `unwind_orphans`; under the lock."""
        if entry.generator is not None:
            self._orphans.append(entry.generator)

    def unwind_orphans(self, error: PenguinError) -> None:
        """Frees what jobs hold that were aborted from outside; worker thread, between steps."""
        with self._changed:
            orphans, self._orphans = self._orphans, []
        for generator in orphans:
            self._unwind(generator, error)

    def wrapped(self, what: str, error: BaseException) -> BackendError:
        """Counts and logs an exception that is no PenguinError, and makes one of it."""
        self._report('job_failures', what, error)
        wrapped = BackendError(what, repr(error), 'The log has the details')
        wrapped.__cause__ = error
        return wrapped

    def guard(self, what: str, call: Callable[[], None]) -> None:
        """Calls; an exception is counted and logged, no more."""
        try:
            call()
        except Exception as error:
            self._report('callback_failures', f'{what} failed', error)

    def _unwind(self, generator: Generator[None, None, None], error: PenguinError) -> None:
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
