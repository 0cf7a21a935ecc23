# SPDX-License-Identifier: Apache-2.0
"""However a job ends, it ends once, with the error that says why, and the worker goes on."""

from __future__ import annotations

import threading
from typing import Any

from support.stepped_jobs import (
    LIVENESS_SECONDS,
    FakeClock,
    Stage,
    SteppedJob,
    house,
    raising,
    steps_done,
)

from penguin_ros.errors import BackendError, DeadlineExceeded, RequestCancelled
from penguin_ros.scheduler.scheduler import Scheduler


def test_a_waiting_job_leaves_the_line_when_cancelled_and_its_place_is_free_at_once() -> None:
    with house(queue_length=1) as inside:
        inside.submit('running')
        inside.wait('running?0')
        waiting = inside.submit('waiting')
        assert inside.scheduler.cancel('waiting')
        inside.submit('next')
        inside.stage.permit()
        inside.wait('waiting RequestCancelled')
        assert 'running:1' not in inside.stage.events and 'waiting?0' not in inside.stage.events
        assert isinstance(waiting.ends[0], RequestCancelled)


def test_a_running_job_is_cancelled_after_its_step_and_frees_what_it_holds_before_it_is_told() -> (
    None
):
    with house() as inside:
        held_at_end: list[bool] = []
        job = inside.submit('job', step_count=100)
        end = job.abort
        job.abort = lambda error: (held_at_end.append(job.is_holding), end(error))[1]  # type: ignore[method-assign]
        inside.wait('job?0')
        assert inside.scheduler.cancel('job')
        inside.stage.permit()
        inside.wait('job RequestCancelled')
        assert steps_done(inside) == ['job:0'] and held_at_end == [False]
        assert not inside.scheduler.cancel('job')


def test_a_resting_caption_is_cancelled_without_waiting_for_the_question() -> None:
    with house() as inside:
        caption = inside.caption('caption')
        inside.wait('caption?0')
        inside.submit('question', step_count=50)
        inside.stage.permit()
        inside.wait('question?0')
        inside.scheduler.cancel('caption')
        inside.stage.permit()
        inside.wait('caption RequestCancelled')
        assert 'question finished' not in inside.stage.events and not caption.is_holding


def test_cancelling_an_unknown_id_says_so() -> None:
    with house() as inside:
        assert not inside.scheduler.cancel('nobody')


def test_the_deadline_of_a_waiting_job_ends_it_while_another_runs() -> None:
    with house() as inside:
        inside.submit('running', step_count=50)
        inside.wait('running?0')
        waiting = inside.submit('waiting', deadline_ns=inside.clock() + 500)
        inside.clock.turn(499)
        inside.stage.permit()
        inside.wait('running?1')
        assert waiting.ends == []
        inside.clock.turn(1)
        inside.stage.permit()
        inside.wait('waiting DeadlineExceeded')
        assert (
            'running finished' not in inside.stage.events and 'waiting?0' not in inside.stage.events
        )


def test_the_deadline_of_a_running_job_ends_it_between_two_steps() -> None:
    with house() as inside:
        job = inside.submit('job', step_count=50, deadline_ns=inside.clock() + 500)
        inside.wait('job?0')
        inside.clock.turn(500)
        inside.stage.permit()
        inside.wait('job DeadlineExceeded')
        assert isinstance(job.ends[0], DeadlineExceeded) and steps_done(inside) == ['job:0']


def test_a_caption_whose_time_runs_out_while_it_rests_is_counted_as_stale() -> None:
    with house() as inside:
        inside.caption('caption', deadline_ns=inside.clock() + 500)
        inside.wait('caption?0')
        inside.submit('question', step_count=50)
        inside.stage.permit()
        inside.wait('question?0')
        inside.clock.turn(500)
        inside.stage.permit()
        inside.wait('caption DeadlineExceeded')
        counts = inside.scheduler.stats()
        assert (counts.captions_stale, counts.captions_dropped) == (1, 1)


def test_a_named_error_of_a_step_ends_that_job_with_it_and_the_next_one_runs() -> None:
    with house() as inside:
        error = BackendError('the device is gone')
        failed, next_job = inside.submit('failed', in_step=raising(error)), inside.submit('next')
        inside.stage.open()
        inside.wait('next finished')
        assert failed.ends == [error] and next_job.ends == [None] and not inside.logged


def test_any_other_exception_becomes_a_backend_error_is_counted_and_logged() -> None:
    with house() as inside:
        cause = ZeroDivisionError('oops')
        failed, next_job = inside.submit('failed', in_step=raising(cause)), inside.submit('next')
        inside.stage.open()
        inside.wait('next finished')
        assert isinstance(failed.ends[0], BackendError) and failed.ends[0].__cause__ is cause
        assert [error for _, error in inside.logged] == [
            cause
        ] and inside.scheduler.stats().job_failures == 1
        assert next_job.ends == [None]


def test_a_callback_that_raises_is_counted_and_the_worker_lives() -> None:
    with house() as inside:
        bad = inside.job('bad')
        bad.finish = raise_now  # type: ignore[method-assign]
        inside.scheduler.submit(bad)
        inside.submit('next')
        inside.stage.open()
        inside.wait('next finished')
        assert inside.scheduler.stats().callback_failures == 1 and len(inside.logged) == 1


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

    with house() as inside:
        job = Stubborn('stubborn', inside.stage)
        inside.scheduler.submit(job)
        inside.wait('stubborn step')
        inside.scheduler.cancel('stubborn')
        inside.stage.open()
        inside.wait('stubborn RequestCancelled')
        inside.submit('next')
        inside.wait('next finished')
        assert inside.scheduler.stats().job_failures == 1


def test_a_log_that_raises_does_not_end_the_worker() -> None:
    stage = Stage()

    def log(what: str, error: BaseException) -> None:
        raise OSError('no space left')

    scheduler = Scheduler(4, FakeClock(), log)
    scheduler.start(lambda: True, lambda: None)
    scheduler.wait_open()
    stage.open()
    scheduler.submit(SteppedJob('failed', stage, in_step=raising(ValueError())))
    scheduler.submit(SteppedJob('next', stage))
    stage.wait('next finished')
    assert scheduler.close(LIVENESS_SECONDS)


def test_what_is_to_end_ends_from_outside_while_a_step_hangs() -> None:
    with house() as inside:
        deadline_ns = inside.clock() + 50
        hanging, waiting = (
            inside.submit(name, deadline_ns=deadline_ns, step_count=50)
            for name in ('hanging', 'waiting')
        )
        cancelled, patient = inside.submit('cancelled'), inside.submit('patient')
        inside.wait('hanging?0')
        inside.scheduler.cancel('cancelled')
        inside.clock.turn(60)
        inside.scheduler.end_stuck(60)
        assert not hanging.ends and not waiting.ends and not cancelled.ends, (
            'the worker itself may still end them'
        )
        inside.clock.turn(1)
        inside.scheduler.end_stuck(60)
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
        inside.stage.open()
        inside.wait('patient finished')
        assert (
            not hanging.is_holding
            and hanging.freed_by == 'penguin worker'
            and 'hanging?1' not in inside.stage.events
        )
        assert [len(job.ends) for job in (hanging, waiting, cancelled, patient)] == [1, 1, 1, 1]
        counts = inside.scheduler.stats()
        assert (counts.questions_failed, counts.job_failures, counts.callback_failures) == (3, 0, 0)


def test_between_steps_nothing_is_ended_from_outside() -> None:
    with house() as inside:
        job = inside.submit('job')
        inside.stage.open()
        inside.wait('job finished')
        inside.clock.turn(1000)
        inside.scheduler.end_stuck(60)
        assert job.ends == [None]
