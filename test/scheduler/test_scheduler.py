# SPDX-License-Identifier: Apache-2.0
"""The worker opens, refuses jobs, closes and dies without leaving a job behind."""

from __future__ import annotations

import threading

import pytest
from support.stepped_jobs import (
    LIVENESS_SECONDS,
    FakeClock,
    Stage,
    SteppedJob,
    SteppedScheduler,
    raising,
    stepped_scheduler,
    steps_done,
)

from penguin_ros.errors import BackendError, BackendUnavailable, Inactive, OutOfMemory, PenguinError
from penguin_ros.scheduler.job import WorkerState
from penguin_ros.scheduler.scheduler import Scheduler


def test_refusing_ends_everything_until_jobs_are_accepted_again() -> None:
    with stepped_scheduler() as stepped:
        running, waiting = stepped.submit('running', step_count=50), stepped.submit('waiting')
        caption = stepped.caption('caption')
        stepped.wait('running?0')
        stepped.scheduler.refuse(Inactive('deactivated'))
        with pytest.raises(Inactive, match='deactivated'):
            stepped.submit('refused')
        stepped.stage.permit()
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
        assert all(
            isinstance(job.ends[0], Inactive) and len(job.ends) == 1
            for job in (running, waiting, caption)
        )
        stepped.scheduler.accept()
        stepped.stage.open()
        stepped.submit('again')
        stepped.wait('again finished')


def test_closing_aborts_what_waits_and_runs_and_closes_the_backend_last() -> None:
    with stepped_scheduler() as stepped:
        running, waiting = stepped.submit('running', step_count=50), stepped.submit('waiting')
        stepped.wait('running?0')
        stepped.stage.permit()
        closer = threading.Thread(target=stepped.scheduler.close, args=(LIVENESS_SECONDS,))
        closer.start()
        stepped.stage.open()
        closer.join(LIVENESS_SECONDS)
        assert isinstance(running.ends[0], Inactive) and isinstance(waiting.ends[0], Inactive)
        assert stepped.stage.events[-1] == 'backend closed'
        with pytest.raises(Inactive):
            stepped.submit('late')


def test_closing_during_a_step_that_hangs_reports_so_and_still_ends_every_job_once() -> None:
    with stepped_scheduler() as stepped:
        running, waiting = stepped.submit('running', step_count=3), stepped.submit('waiting')
        stepped.wait('running?0')
        assert stepped.scheduler.close(0.01) is False
        assert isinstance(running.ends[0], Inactive) and isinstance(waiting.ends[0], Inactive)
        assert running.is_holding and 'backend closed' not in stepped.stage.events
        stepped.stage.open()  # the step returns after all
        assert stepped.scheduler.close(LIVENESS_SECONDS)
        assert len(running.ends) == len(waiting.ends) == 1 and not running.is_holding
        assert steps_done(stepped) == ['running:0'] and stepped.stage.events[-1] == 'backend closed'


def test_a_hanging_step_that_fails_after_the_close_ends_its_job_no_second_time() -> None:
    with stepped_scheduler() as stepped:
        job = stepped.submit('job', in_step=raising(OutOfMemory('full')))
        stepped.wait('job?0')
        assert stepped.scheduler.close(0.01) is False
        stepped.stage.open()
        assert stepped.scheduler.close(LIVENESS_SECONDS)
        assert len(job.ends) == 1 and isinstance(job.ends[0], Inactive)


def test_the_worker_frees_what_a_preempted_caption_holds_even_when_close_could_not_wait() -> None:
    with stepped_scheduler() as stepped:
        caption = stepped.caption('caption')
        stepped.wait('caption?0')
        stepped.submit('question')
        stepped.stage.permit()
        stepped.wait('question?0')
        assert stepped.scheduler.close(0.01) is False
        assert len(caption.ends) == 1 and caption.is_holding
        stepped.stage.open()
        assert stepped.scheduler.close(LIVENESS_SECONDS)
        assert (caption.is_holding, caption.freed_by, len(caption.ends)) == (
            False,
            'penguin worker',
            1,
        )


def test_a_callback_may_close_the_scheduler() -> None:
    with stepped_scheduler() as stepped:
        job = stepped.job('job')
        end = job.finish
        job.finish = lambda: (stepped.scheduler.close(LIVENESS_SECONDS), end())[1]  # type: ignore[method-assign]
        stepped.stage.open()
        stepped.scheduler.submit(job)
        stepped.wait('backend closed')
        assert job.ends == [None]


def test_an_error_of_opening_reaches_who_waits_and_refuses_jobs() -> None:
    closed = threading.Event()

    def fail() -> int:
        raise BackendUnavailable('no CUDA device')

    scheduler = Scheduler(4, FakeClock(), lambda what, error: None)
    scheduler.start(fail, closed.set)
    with pytest.raises(BackendUnavailable):
        scheduler.wait_open()
    assert closed.wait(LIVENESS_SECONDS) and scheduler.worker().state == WorkerState.FAILED
    with pytest.raises(Inactive, match='no CUDA device'):
        scheduler.submit(SteppedJob('a', Stage()))


def test_an_unexpected_exception_of_opening_is_named_and_logged() -> None:
    logged: list[BaseException] = []

    def fail() -> int:
        raise ValueError('odd')

    scheduler = Scheduler(4, FakeClock(), lambda what, error: logged.append(error))
    scheduler.start(fail, lambda: None)
    with pytest.raises(BackendError, match='odd'):
        scheduler.wait_open()
    assert len(logged) == 1


def test_closing_interrupts_who_waits_for_the_backend() -> None:
    opening, go_on = threading.Event(), threading.Event()
    waited: list[PenguinError] = []

    def open_slowly() -> int:
        opening.set()
        return go_on.wait(LIVENESS_SECONDS)

    def wait() -> None:
        with pytest.raises(Inactive) as raised:
            scheduler.wait_open()
        waited.append(raised.value)

    scheduler = Scheduler(4, FakeClock(), lambda what, error: None)
    scheduler.start(open_slowly, lambda: None)
    waiter = threading.Thread(target=wait)
    waiter.start()
    assert opening.wait(LIVENESS_SECONDS)
    assert scheduler.close(0.01) is False
    waiter.join(LIVENESS_SECONDS)
    go_on.set()
    assert scheduler.close(LIVENESS_SECONDS) and len(waited) == 1


class Fatal(BaseException):
    """An exception that no job is expected to raise."""


def test_the_death_of_the_worker_ends_every_job_and_is_seen() -> None:
    stepped = SteppedScheduler()
    dying, waiting = stepped.submit('dying', in_step=raising(Fatal())), stepped.submit('waiting')
    caption = stepped.caption('caption')
    stepped.stage.open()
    stepped.wait('backend closed')
    for job in (dying, waiting, caption):
        assert len(job.ends) == 1 and isinstance(job.ends[0], BackendError)
    status = stepped.scheduler.worker()
    assert (
        status.state == WorkerState.FAILED
        and isinstance(status.failure, BackendError)
        and status.step_ns == 0
    )
    with pytest.raises(Inactive, match='worker thread failed'):
        stepped.submit('late')
    assert stepped.scheduler.close(LIVENESS_SECONDS)


def test_the_watchdog_sees_how_long_a_step_takes() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('job')
        stepped.wait('job?0')
        stepped.clock.turn(7_000)
        status = stepped.scheduler.worker()
        assert status.state == WorkerState.SERVING and status.step_ns == 7_000
        stepped.stage.open()
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
        stepped.submit('next')
        stepped.wait('next finished')
        assert stepped.scheduler.worker().heartbeat_ns == stepped.clock()


def test_a_scheduler_is_used_once() -> None:
    with stepped_scheduler() as stepped, pytest.raises(Inactive):
        stepped.scheduler.start(lambda: 4, lambda: None)
