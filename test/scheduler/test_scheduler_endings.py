# SPDX-License-Identifier: Apache-2.0
"""A job ends once, however it ends, with the error that says why, and the worker goes on."""

from __future__ import annotations

import threading
from typing import Any

from support.stepped_jobs import (
    LIVENESS_SECONDS,
    FakeClock,
    Stage,
    SteppedJob,
    raising,
    stepped_scheduler,
    steps_done,
)

from penguin_ros.errors import BackendError, DeadlineExceeded, DeviceLost, RequestCancelled
from penguin_ros.scheduler.job import WorkerState
from penguin_ros.scheduler.scheduler import Scheduler


def test_a_waiting_job_leaves_the_line_when_cancelled_and_its_place_is_free_at_once() -> None:
    with stepped_scheduler(queue_length=1) as stepped:
        stepped.submit('running')
        stepped.wait('running?0')
        waiting = stepped.submit('waiting')
        assert stepped.scheduler.cancel('waiting')
        stepped.submit('next')
        stepped.stage.permit()
        stepped.wait('waiting RequestCancelled')
        assert 'running:1' not in stepped.stage.events and 'waiting?0' not in stepped.stage.events
        assert isinstance(waiting.ends[0], RequestCancelled)


def test_a_running_job_is_cancelled_after_its_step_and_freed_before_it_is_aborted() -> None:
    with stepped_scheduler() as stepped:
        held_at_end: list[bool] = []
        job = stepped.submit('job', step_count=100)
        end = job.abort
        job.abort = lambda error: (held_at_end.append(job.is_holding), end(error))[1]  # type: ignore[method-assign]
        stepped.wait('job?0')
        assert stepped.scheduler.cancel('job')
        stepped.stage.permit()
        stepped.wait('job RequestCancelled')
        assert steps_done(stepped) == ['job:0'] and held_at_end == [False]
        assert not stepped.scheduler.cancel('job')


def test_a_preempted_caption_is_cancelled_without_waiting_for_the_question() -> None:
    with stepped_scheduler() as stepped:
        caption = stepped.caption('caption')
        stepped.wait('caption?0')
        stepped.submit('question', step_count=50)
        stepped.stage.permit()
        stepped.wait('question?0')
        stepped.scheduler.cancel('caption')
        stepped.stage.permit()
        stepped.wait('caption RequestCancelled')
        assert 'question finished' not in stepped.stage.events and not caption.is_holding


def test_cancelling_an_unknown_id_says_so() -> None:
    with stepped_scheduler() as stepped:
        assert not stepped.scheduler.cancel('nobody')


def test_the_deadline_of_a_waiting_job_ends_it_while_another_runs() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('running', step_count=50)
        stepped.wait('running?0')
        waiting = stepped.submit('waiting', deadline_ns=stepped.clock() + 500)
        stepped.clock.turn(499)
        stepped.stage.permit()
        stepped.wait('running?1')
        assert waiting.ends == []
        stepped.clock.turn(1)
        stepped.stage.permit()
        stepped.wait('waiting DeadlineExceeded')
        assert (
            'running finished' not in stepped.stage.events
            and 'waiting?0' not in stepped.stage.events
        )


def test_the_deadline_of_a_running_job_ends_it_between_two_steps() -> None:
    with stepped_scheduler() as stepped:
        job = stepped.submit('job', step_count=50, deadline_ns=stepped.clock() + 500)
        stepped.wait('job?0')
        stepped.clock.turn(500)
        stepped.stage.permit()
        stepped.wait('job DeadlineExceeded')
        assert isinstance(job.ends[0], DeadlineExceeded) and steps_done(stepped) == ['job:0']


def test_a_caption_whose_time_runs_out_while_it_is_preempted_is_counted_as_stale() -> None:
    with stepped_scheduler() as stepped:
        stepped.caption('caption', deadline_ns=stepped.clock() + 500)
        stepped.wait('caption?0')
        stepped.submit('question', step_count=50)
        stepped.stage.permit()
        stepped.wait('question?0')
        stepped.clock.turn(500)
        stepped.stage.permit()
        stepped.wait('caption DeadlineExceeded')
        counts = stepped.scheduler.stats()
        assert (counts.captions_stale, counts.captions_dropped) == (1, 1)


def test_a_named_error_of_a_step_ends_that_job_with_it_and_the_next_one_runs() -> None:
    with stepped_scheduler() as stepped:
        error = BackendError('the device is gone')
        failed, next_job = stepped.submit('failed', in_step=raising(error)), stepped.submit('next')
        stepped.stage.open()
        stepped.wait('next finished')
        assert failed.ends == [error] and next_job.ends == [None] and not stepped.logged


def test_any_other_exception_becomes_a_backend_error_is_counted_and_logged() -> None:
    with stepped_scheduler() as stepped:
        cause = ZeroDivisionError('oops')
        failed, next_job = stepped.submit('failed', in_step=raising(cause)), stepped.submit('next')
        stepped.stage.open()
        stepped.wait('next finished')
        assert isinstance(failed.ends[0], BackendError) and failed.ends[0].__cause__ is cause
        assert [error for _, error in stepped.logged] == [
            cause
        ] and stepped.scheduler.stats().job_failures == 1
        assert next_job.ends == [None]


def test_a_callback_that_raises_is_counted_and_the_worker_lives() -> None:
    with stepped_scheduler() as stepped:
        bad = stepped.job('bad')
        bad.finish = raise_now  # type: ignore[method-assign]
        stepped.scheduler.submit(bad)
        stepped.submit('next')
        stepped.stage.open()
        stepped.wait('next finished')
        assert stepped.scheduler.stats().callback_failures == 1 and len(stepped.logged) == 1


def raise_now() -> None:
    raise RuntimeError('callback')


def test_a_job_that_swallows_its_end_is_ended_nevertheless() -> None:
    class Stubborn(SteppedJob):
        def steps(self) -> Any:
            for _ in range(3):  # swallows the thrown error and the closing, not more
                self.stage.note('stubborn step')
                self.stage.pass_gate()
                try:
                    yield
                except BaseException:
                    self.stage.note('swallowed')

    with stepped_scheduler() as stepped:
        job = Stubborn('stubborn', stepped.stage)
        stepped.scheduler.submit(job)
        stepped.wait('stubborn step')
        stepped.scheduler.cancel('stubborn')
        stepped.stage.open()
        stepped.wait('stubborn RequestCancelled')
        stepped.submit('next')
        stepped.wait('next finished')
        assert stepped.scheduler.stats().job_failures == 1


def test_a_log_that_raises_does_not_end_the_worker() -> None:
    stage = Stage()

    def log(what: str, error: BaseException) -> None:
        raise OSError('no space left')

    scheduler = Scheduler(4, FakeClock(), log)
    scheduler.start(lambda: 4, lambda: None)
    scheduler.wait_open()
    stage.open()
    scheduler.submit(SteppedJob('failed', stage, in_step=raising(ValueError())))
    scheduler.submit(SteppedJob('next', stage))
    stage.wait('next finished')
    assert scheduler.close(LIVENESS_SECONDS)


def test_what_is_to_end_ends_from_outside_while_a_step_hangs() -> None:
    with stepped_scheduler() as stepped:
        deadline_ns = stepped.clock() + 50
        hanging, waiting = (
            stepped.submit(name, deadline_ns=deadline_ns, step_count=50)
            for name in ('hanging', 'waiting')
        )
        cancelled, patient = stepped.submit('cancelled'), stepped.submit('patient')
        stepped.wait('hanging?0')
        stepped.scheduler.cancel('cancelled')
        stepped.clock.turn(60)
        stepped.scheduler.end_stuck(60)
        assert not hanging.ends and not waiting.ends and not cancelled.ends, (
            'the worker itself may still end them'
        )
        stepped.clock.turn(1)
        stepped.scheduler.end_stuck(60)
        assert [type(job.ends[0]) for job in (hanging, waiting, cancelled)] == [
            DeadlineExceeded,
            DeadlineExceeded,
            RequestCancelled,
        ]
        assert (
            not patient.ends
            and hanging.is_holding
            and hanging.threads == [threading.current_thread().name]
        )
        stepped.stage.open()
        stepped.wait('patient finished')
        assert (
            not hanging.is_holding
            and hanging.freed_by == 'penguin worker'
            and 'hanging?1' not in stepped.stage.events
        )
        assert [len(job.ends) for job in (hanging, waiting, cancelled, patient)] == [1, 1, 1, 1]
        counts = stepped.scheduler.stats()
        assert (counts.questions_failed, counts.job_failures, counts.callback_failures) == (3, 0, 0)


def test_between_steps_nothing_is_ended_from_outside() -> None:
    with stepped_scheduler() as stepped:
        job = stepped.submit('job')
        stepped.stage.open()
        stepped.wait('job finished')
        stepped.clock.turn(1000)
        stepped.scheduler.end_stuck(60)
        assert job.ends == [None]


def test_when_the_device_is_lost_every_job_ends_and_the_worker_too() -> None:
    with stepped_scheduler(queue_length=2) as stepped:
        lost = stepped.submit('lost', in_step=raising(DeviceLost('the GPU stopped')))
        waiting = stepped.submit('waiting')
        stepped.stage.permit()
        stepped.wait('waiting DeviceLost')
        assert isinstance(lost.ends[0], DeviceLost) and isinstance(waiting.ends[0], DeviceLost)
        status = stepped.scheduler.worker()
        assert status.state is WorkerState.FAILED and isinstance(status.failure, DeviceLost)
