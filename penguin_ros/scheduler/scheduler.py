# SPDX-License-Identifier: Apache-2.0
"""One worker thread opens the backend, runs jobs step by step and closes the backend. Knows neither
models nor requests.

Every job that `submit` takes ends in exactly one `finish` or `abort`. Both are called on the worker
thread, except that `close` and `end_stuck` abort on their caller's thread what the worker could not
end in time.

The one place where jobs end, each exactly once. Knows not why they end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial

from penguin_ros.errors import (
    BackendError,
    DeadlineExceeded,
    Inactive,
    PenguinError,
    RequestCancelled,
    RequestError,
    StaleFrames,
)
from penguin_ros.frame import NANOSECONDS
from penguin_ros.request import Priority
from penguin_ros.scheduler.job import Entry, Job, SchedulerStats, WorkerState, WorkerStatus
from penguin_ros.scheduler.job_queue import JobQueue

Log = Callable[[str, BaseException], None]

OUTCOMES = {
    (Priority.QUESTION, True): 'questions_finished',
    (Priority.QUESTION, False): 'questions_failed',
    (Priority.CAPTION, True): 'captions_finished',
    (Priority.CAPTION, False): 'captions_dropped',
    (Priority.BACKGROUND, True): 'precomputes_finished',
    (Priority.BACKGROUND, False): 'precomputes_dropped',
}


class Finalizer:
    """Ends jobs of `queue`, whose lock is in `changed`; `log` gets a sentence and the exception
    behind it.

    `delivering` counts the jobs whose `finish` or `abort` is being called at this moment.
    """

    def __init__(self, queue: JobQueue, changed: threading.Condition, log: Log) -> None:
        self._queue, self._changed, self._log = queue, changed, log
        self._abandoned: list[Generator[None, None, None]] = []
        self.delivering = 0

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
        """Aborts a job while the worker is stuck in a step; its generator, which belongs to the
        worker, is unwound later.
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


HEARTBEAT_SECONDS = 0.5  # an idle worker shows life this often


class Scheduler:
    """See the module; `log` is called on the worker thread with a sentence and the exception behind
    it.
    """

    def __init__(self, queue_length: int, steady_ns: Callable[[], int], log: Log) -> None:
        self._steady_ns = steady_ns
        self._queue = JobQueue(queue_length)
        self._changed = threading.Condition()  # guards everything below, and the queue
        self._ends = Finalizer(self._queue, self._changed, log)
        self._thread: threading.Thread | None = None
        self._state = WorkerState.NEW
        self._failure: PenguinError | None = None
        self._refusal: PenguinError | None = None
        self._is_closing = False
        self._heartbeat_ns = steady_ns()
        self._step_start_ns: int | None = None

    def start(self, open_backend: Callable[[], bool], close_backend: Callable[[], None]) -> None:
        """Starts the worker, which calls `open_backend` first (its result: can a caption rest while
        a question runs) and `close_backend` last, whatever happened. Returns at once; see
        `wait_open`.
        """
        with self._changed:
            if self._thread is not None or self._is_closing:
                raise Inactive(
                    'the worker was started or closed before', 'a scheduler is used once'
                )
            self._state = WorkerState.OPENING
            self._thread = threading.Thread(
                target=self._run,
                args=(open_backend, close_backend),
                name='penguin worker',
                daemon=True,
            )
            self._thread.start()

    def wait_open(self) -> None:
        """Blocks until the backend is open; raises what `open_backend` raised, or Inactive when
        closed meanwhile.
        """
        with self._changed:
            while self._state == WorkerState.OPENING and not self._is_closing:
                self._changed.wait(HEARTBEAT_SECONDS)  # a limit lets the interpreter see signals
            if self._failure is not None:
                raise self._failure.fresh()
            if self._is_closing:
                raise closing_error()

    def refuse(self, error: PenguinError) -> None:
        """Refuses new jobs with `error` and ends those that wait or run with it."""
        with self._changed:
            self._refusal = error
            self._end_all(error)

    def resume(self) -> None:
        """Takes jobs again."""
        with self._changed:
            self._refusal = None

    def end_all(
        self, error: PenguinError, is_affected: Callable[[Job], bool] = lambda job: True
    ) -> None:
        """Ends every job that waits or runs, if affected; new ones are taken."""
        with self._changed:
            self._end_all(error, is_affected)

    def submit(self, job: Job) -> None:
        """Puts a job in line; raises Inactive, Busy or DuplicateRequest at once, and then never
        calls the job.
        """
        with self._changed:
            try:
                self._check_serving()
                self._queue.add(job)
            except RequestError:
                self._queue.counts['questions_refused'] += job.priority == Priority.QUESTION
                raise
            self._changed.notify_all()

    def cancel(self, job_id: str) -> bool:
        """Ends a job with RequestCancelled: a waiting one leaves the line now, a running one ends
        after its step.

        False when there is no such job (any more).
        """
        with self._changed:
            entry = self._queue.find(job_id)
            if entry is None:
                return False
            self._queue.end(entry, RequestCancelled(f'request {job_id} was cancelled'))
            self._changed.notify_all()
            return True

    def close(self, timeout_s: float) -> bool:
        """Ends all jobs with Inactive, lets the worker close the backend, waits up to `timeout_s`
        for that.

        False when a step is still running then: what waits or runs has been aborted nevertheless,
        from this thread, and the worker closes the backend when the step returns, if it ever does.
        From the worker thread itself it does not wait.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is None or self._thread is threading.current_thread():
            return self._thread is None
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            return True
        for entry in self._live_entries():
            self._ends.abandon(entry, closing_error())
        return False

    def end_stuck(self, patience_ns: int) -> None:
        """Aborts, on this thread, the jobs that are to end (cancelled, past their deadline), when
        the worker has been in one step for longer than `patience_ns`; otherwise the worker itself
        does that. To be called now and then.
        """
        with self._changed:
            is_stuck = (
                self._step_start_ns is not None
                and self._steady_ns() - self._step_start_ns > patience_ns
            )
            endings = self._due_endings() if is_stuck else []
        for entry in endings:
            self._ends.abandon(entry, entry.ending or closing_error())

    def wait_idle(self, timeout_s: float) -> bool:
        """Blocks until no job waits or runs; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._queue.entries() and not self._ends.delivering, timeout_s
            )

    def stats(self) -> SchedulerStats:
        """A snapshot."""
        with self._changed:
            return self._queue.snapshot()

    def worker(self) -> WorkerStatus:
        """A snapshot, for a watchdog."""
        with self._changed:
            now_ns = self._steady_ns()
            step_ns = 0 if self._step_start_ns is None else now_ns - self._step_start_ns
            return WorkerStatus(self._state, self._heartbeat_ns, step_ns, self._failure)

    # --- the worker thread ------------------------------------------------------------------------

    def _run(self, open_backend: Callable[[], bool], close_backend: Callable[[], None]) -> None:
        failure: PenguinError | None = None
        try:
            self._queue.can_preempt = open_backend()
            with self._changed:
                self._state = WorkerState.SERVING
                self._changed.notify_all()
            while self._serve():
                pass
        except PenguinError as error:
            failure = error.fresh()
        except BaseException as error:  # the thread ends with it and nobody else would see it
            what = (
                'the model could not be loaded'
                if self._state == WorkerState.OPENING
                else 'the worker thread failed'
            )
            failure = self._ends.wrapped(what, error).fresh()
        with self._changed:
            self._state = WorkerState.CLOSED if failure is None else WorkerState.FAILED
            self._failure, self._is_closing, self._step_start_ns = failure, True, None
            self._end_all(failure or closing_error())
        for entry in self._live_entries():
            self._ends.close_and_finalize(entry, entry.ending or closing_error())
        self._ends.close_abandoned(closing_error())
        self._ends.guard('closing the backend', close_backend)

    def _serve(self) -> bool:
        """Ends what is to end, or advances the next job by one step, or waits a moment; False when
        all is done.
        """
        entry = None
        with self._changed:
            self._heartbeat_ns = self._steady_ns()
            endings = self._due_endings()
            if not endings:
                entry = self._queue.next(self._heartbeat_ns)
                if entry is None and self._is_closing:
                    return False
                if entry is None:
                    self._changed.wait(HEARTBEAT_SECONDS)
        for ending in endings:
            self._ends.close_and_finalize(ending, ending.ending or closing_error())
        if entry is not None:
            self._advance(entry)
        self._ends.close_abandoned(closing_error())
        return True

    def _due_endings(self) -> list[Entry]:
        """Marks jobs past their deadline or longest pause, and all of them when closing; returns
        the marked ones.
        """
        if self._is_closing:
            self._end_all(closing_error())
        now_ns = self._steady_ns()
        for entry in self._queue.entries():
            deadline_ns = entry.job.deadline_ns
            if deadline_ns is not None and now_ns >= deadline_ns and entry.ending is None:
                self._queue.counts['captions_stale'] += self._queue.is_preempted(entry)
                self._queue.end(
                    entry,
                    DeadlineExceeded(
                        f'request {entry.job.id} ran out of time',
                        'its deadline has passed',
                        'Allow more time or fewer tokens',
                    ),
                )
            self._end_if_stale(entry, now_ns)
        return [entry for entry in self._queue.entries() if entry.ending is not None]

    def _end_if_stale(self, entry: Entry, now_ns: int) -> None:
        longest_ns, preempted_ns = entry.job.max_preemption_ns, entry.preempted_at(now_ns)
        if longest_ns is None or preempted_ns <= longest_ns or entry.ending is not None:
            return
        entry.keeps_its_turn = True
        self._queue.counts['captions_stale'] += 1
        self._queue.end(
            entry,
            StaleFrames(
                f'request {entry.job.id} was given up',
                f'questions have kept it from going on for {preempted_ns / NANOSECONDS:.1f} s',
                'Raise caption.max_preemption or ask less',
            ),
        )

    def _advance(self, entry: Entry) -> None:
        with self._changed:
            self._step_start_ns = self._steady_ns()
        try:
            if entry.generator is None:
                entry.generator = entry.job.steps()
            next(entry.generator)
        except StopIteration:
            self._ends.finalize(entry, None)
        except PenguinError as error:
            self._ends.finalize(entry, error)
        except Exception as error:
            self._ends.finalize(entry, self._ends.wrapped(f'request {entry.job.id} failed', error))
        with self._changed:
            self._step_start_ns = None
            if (
                self._queue.find(entry.job.id) is not entry
            ):  # ended, or aborted by `close` during its first step
                self._ends.note_abandoned(entry)

    def _live_entries(self) -> list[Entry]:
        with self._changed:
            return self._queue.entries()

    def _end_all(
        self, error: PenguinError, is_affected: Callable[[Job], bool] = lambda job: True
    ) -> None:
        for entry in self._queue.entries():
            if is_affected(entry.job):
                self._queue.end(entry, error.fresh())
        self._changed.notify_all()

    def _check_serving(self) -> None:
        if self._failure is not None:
            raise Inactive(
                'the model is not loaded', str(self._failure), 'Configure the node again'
            )
        if self._is_closing or self._state != WorkerState.SERVING:
            raise (
                closing_error()
                if self._is_closing
                else Inactive('the model is not loaded yet', '', 'Wait until it is')
            )
        if self._refusal is not None:
            raise self._refusal.fresh()


def closing_error() -> Inactive:
    """What jobs end with when the scheduler is closed."""
    return Inactive('the model is being closed', 'the node shuts down or is cleaned up')
