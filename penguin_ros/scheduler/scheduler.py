# SPDX-License-Identifier: Apache-2.0
"""One worker thread opens the backend, runs jobs step by step and closes the backend.

Every job that `submit` takes ends in exactly one `finish` or `abort`. Both are called on the worker
thread, except that `close` and `end_stuck` abort on their caller's thread what the worker could not
end in time. All other methods may be called on any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from penguin_ros.errors import (
    DeadlineExceeded,
    DeviceLost,
    Inactive,
    PenguinError,
    RequestCancelled,
    RequestError,
    StaleFrames,
)
from penguin_ros.frame import NANOSECONDS
from penguin_ros.request import Priority
from penguin_ros.scheduler.job import Entry, Job, SchedulerStats, WorkerState, WorkerStatus
from penguin_ros.scheduler.job_queue import Finalizer, JobQueue, Log

HEARTBEAT_SECONDS = 0.5
"""An idle worker shows a sign of life this often."""


class Scheduler:
    """Jobs in line, and the thread that runs them. `queue_length`: questions that may wait;
    `steady_ns`: the steady clock; `log` is called on the worker thread with a sentence and the
    exception behind it.
    """

    def __init__(self, queue_length: int, steady_ns: Callable[[], int], log: Log) -> None:
        self._steady_ns = steady_ns
        self._queue = JobQueue(queue_length)
        self._changed = threading.Condition()  # guards everything below, and the queue
        self._finalizer = Finalizer(self._queue, self._changed, log)
        self._thread: threading.Thread | None = None
        self._state = WorkerState.NEW
        self._failure: PenguinError | None = None
        self._refusal: PenguinError | None = None
        self._is_closing = False
        self._heartbeat_ns = steady_ns()
        self._step_start_ns: int | None = None

    def start(self, open_backend: Callable[[], int], close_backend: Callable[[], None]) -> None:
        """Starts the worker, which calls `open_backend` first and `close_backend` last, whatever
        happened. `open_backend` returns how many jobs may be started at once, of which all but one
        are preempted: the number of KV slots. Returns at once; see `wait_open`.
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
        """Blocks until the backend is open; raises what `open_backend` raised, or Inactive when the
        scheduler is closed meanwhile.
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

    def accept(self) -> None:
        """Takes jobs again after `refuse`."""
        with self._changed:
            self._refusal = None

    def end_all(
        self, error: PenguinError, is_affected: Callable[[Job], bool] = lambda job: True
    ) -> None:
        """Ends every affected job that waits or runs; new ones are taken."""
        with self._changed:
            self._end_all(error, is_affected)

    def submit(self, job: Job) -> None:
        """Puts a job in line. Raises Inactive, Busy or DuplicateRequest at once, and then never
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
        after its step. Returns False when there is no such job (any more).
        """
        with self._changed:
            entry = self._queue.find(job_id)
            if entry is None:
                return False
            self._queue.end(entry, RequestCancelled(f'request {job_id} was cancelled'))
            self._changed.notify_all()
            return True

    def end(self, job: Job, error: PenguinError) -> None:
        """Ends a job with `error`, as `cancel` does; nothing happens when it has ended."""
        with self._changed:
            entry = self._queue.find(job.id)
            if entry is not None and entry.job is job:
                self._queue.end(entry, error)
                self._changed.notify_all()

    def set_rule_share(self, share: float) -> None:
        """Sets how much of the time rules may take while captions want it too (0..1)."""
        with self._changed:
            self._queue.rule_share.share = share

    def wake(self) -> None:
        """Makes the worker look at its line again, because a job has become ready."""
        with self._changed:
            self._changed.notify_all()

    def close(self, timeout_s: float) -> bool:
        """Ends all jobs with Inactive, lets the worker close the backend, and waits up to
        `timeout_s` for that; on the worker thread itself it does not wait.

        Returns False when a step is still running then: what waits or runs has been aborted
        nevertheless, on this thread, and the worker closes the backend when the step returns, if it
        ever does.
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
            self._finalizer.abandon(entry, closing_error())
        return False

    def end_stuck(self, patience_ns: int) -> None:
        """Aborts, on this thread, the jobs that are to end (cancelled, past their deadline), when
        the worker has been in one step for longer than `patience_ns`; otherwise the worker itself
        ends them. To be called now and then.
        """
        with self._changed:
            is_stuck = (
                self._step_start_ns is not None
                and self._steady_ns() - self._step_start_ns > patience_ns
            )
            endings = self._due_endings() if is_stuck else []
        for entry in endings:
            self._finalizer.abandon(entry, entry.ending or closing_error())

    def wait_idle(self, timeout_s: float) -> bool:
        """Blocks until no job waits or runs; returns False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._queue.entries() and not self._finalizer.delivering, timeout_s
            )

    def stats(self) -> SchedulerStats:
        """Returns a snapshot of what waits, what runs, and all counts."""
        with self._changed:
            return self._queue.stats()

    def worker(self) -> WorkerStatus:
        """Returns a snapshot of the worker thread, for a watchdog."""
        with self._changed:
            now_ns = self._steady_ns()
            step_ns = 0 if self._step_start_ns is None else now_ns - self._step_start_ns
            return WorkerStatus(self._state, self._heartbeat_ns, step_ns, self._failure)

    # --- the worker thread ------------------------------------------------------------------------

    def _run(self, open_backend: Callable[[], int], close_backend: Callable[[], None]) -> None:
        failure: PenguinError | None = None
        try:
            self._queue.max_started = open_backend()
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
            failure = self._finalizer.wrapped(what, error).fresh()
        with self._changed:
            self._state = WorkerState.CLOSED if failure is None else WorkerState.FAILED
            self._failure = failure
            self._is_closing = True
            self._step_start_ns = None
            self._end_all(failure or closing_error())
        for entry in self._live_entries():
            self._finalizer.close_and_finalize(entry, entry.ending or closing_error())
        self._finalizer.close_abandoned(closing_error())
        self._finalizer.guard('closing the backend', close_backend)

    def _serve(self) -> bool:
        """Ends what is to end, or advances the next job by one step, or waits a moment; returns
        False when the scheduler is closing and all is done.
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
            self._finalizer.close_and_finalize(ending, ending.ending or closing_error())
        if entry is not None:
            self._advance(entry)
        self._finalizer.close_abandoned(closing_error())
        return True

    def _due_endings(self) -> list[Entry]:
        """Marks jobs that are past their deadline or their longest preemption, and all jobs when
        closing; returns the marked ones.
        """
        if self._is_closing:
            self._end_all(closing_error())
        self._queue.make_room()
        now_ns = self._steady_ns()
        for entry in self._queue.entries():
            self._end_if_late(entry, now_ns)
            self._end_if_stale(entry, now_ns)
        return [entry for entry in self._queue.entries() if entry.ending is not None]

    def _end_if_late(self, entry: Entry, now_ns: int) -> None:
        deadline_ns = entry.job.deadline_ns
        if deadline_ns is None or now_ns < deadline_ns or entry.ending is not None:
            return
        self._queue.counts['captions_stale'] += self._queue.is_preempted(entry)
        error = DeadlineExceeded(
            f'request {entry.job.id} ran out of time',
            'its deadline has passed',
            'Allow more time or fewer tokens',
        )
        self._queue.end(entry, error)

    def _end_if_stale(self, entry: Entry, now_ns: int) -> None:
        longest_ns, preempted_ns = entry.job.max_preemption_ns, entry.preempted_for(now_ns)
        if longest_ns is None or preempted_ns <= longest_ns or entry.ending is not None:
            return
        entry.keeps_its_turn = True
        self._queue.counts['captions_stale'] += 1
        error = StaleFrames(
            f'request {entry.job.id} was given up',
            'questions and rules have kept it from going on for '
            f'{preempted_ns / NANOSECONDS:.1f} s',
            'Raise caption.max_preemption, ask less, or lower rule.share',
        )
        self._queue.end(entry, error)

    def _advance(self, entry: Entry) -> None:
        with self._changed:
            self._step_start_ns = self._steady_ns()
        try:
            if entry.generator is None:
                entry.generator = entry.job.steps()
            next(entry.generator)
        except StopIteration:
            self._finalizer.finalize(entry, None)
        except DeviceLost as error:  # no later job could succeed: the worker ends too
            self._finalizer.finalize(entry, error)
            raise
        except PenguinError as error:
            self._finalizer.finalize(entry, error)
        except Exception as error:
            self._finalizer.finalize(
                entry, self._finalizer.wrapped(f'request {entry.job.id} failed', error)
            )
        with self._changed:
            self._queue.note_step(entry, self._steady_ns() - (self._step_start_ns or 0))
            self._step_start_ns = None
            # It has ended, or `close` has aborted it during its first step.
            if self._queue.find(entry.job.id) is not entry:
                self._finalizer.note_abandoned(entry)
            elif not entry.job.is_ready:
                self._queue.park(entry)

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
            if self._is_closing:
                raise closing_error()
            raise Inactive('the model is not loaded yet', '', 'Wait until it is')
        if self._refusal is not None:
            raise self._refusal.fresh()


def closing_error() -> Inactive:
    """Makes the error that jobs end with when the scheduler is closed."""
    return Inactive('the model is being closed', 'the node shuts down or is cleaned up')
