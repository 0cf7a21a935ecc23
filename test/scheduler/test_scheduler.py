# SPDX-License-Identifier: Apache-2.0
"""The scheduler runs questions first, ends every job exactly once, and survives what jobs do."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scheduler.stepped_jobs import LIVENESS_SECONDS, FakeClock, Stage, SteppedJob

from penguin_ros.errors import (
    BackendError,
    BackendUnavailable,
    Busy,
    DeadlineExceeded,
    DuplicateRequest,
    Inactive,
    PenguinError,
    RequestCancelled,
    RequestReplaced,
)
from penguin_ros.request import Priority
from penguin_ros.scheduler.scheduler import Scheduler
from penguin_ros.scheduler.worker_status import WorkerState


class House:
    """A running scheduler with a stage, a clock, and what was logged."""

    def __init__(self, queue_length: int = 4, can_suspend: bool = True) -> None:
        self.stage, self.clock = Stage(), FakeClock()
        self.logged: list[tuple[str, BaseException]] = []
        self.scheduler = Scheduler(queue_length, self.clock, lambda what, error: self.logged.append((what, error)))
        self.scheduler.start(lambda: can_suspend, lambda: self.stage.note('backend closed'))
        self.scheduler.wait_open()

    def job(self, job_id: str, **facts: Any) -> SteppedJob:
        return SteppedJob(job_id, self.stage, **facts)

    def submit(self, job_id: str, **facts: Any) -> SteppedJob:
        job = self.job(job_id, **facts)
        self.scheduler.submit(job)
        return job

    def caption(self, job_id: str, key: str = 'front', **facts: Any) -> SteppedJob:
        return self.submit(job_id, priority=Priority.CAPTION, key=key, **facts)

    def wait(self, event: str) -> None:
        self.stage.wait(event)


@contextmanager
def house(**facts: Any) -> Iterator[House]:
    inside = House(**facts)
    try:
        yield inside
    finally:
        inside.stage.open()
        assert inside.scheduler.close(LIVENESS_SECONDS)


def steps_done(inside: House) -> list[str]:
    return [event for event in inside.stage.events if ':' in event]


def test_questions_run_in_order_of_arrival_and_finish_on_the_worker() -> None:
    with house() as inside:
        jobs = [inside.submit(name) for name in 'abc']
        inside.stage.open()
        inside.wait('c finished')
        assert steps_done(inside) == ['a:0', 'a:1', 'b:0', 'b:1', 'c:0', 'c:1']
        assert [job.ends for job in jobs] == [[None]] * 3
        assert {name for job in jobs for name in job.threads} == {'penguin worker'}


def test_a_question_interrupts_a_caption_between_two_steps_and_the_caption_goes_on_afterwards() -> None:
    with house() as inside:
        inside.caption('caption', step_count=3)
        inside.wait('caption?0')
        inside.submit('question')
        inside.stage.open()
        inside.wait('caption finished')
        assert steps_done(inside) == ['caption:0', 'question:0', 'question:1', 'caption:1', 'caption:2']
        counts = inside.scheduler.counts()
        assert (counts.captions_suspended, counts.captions_overtaken, counts.captions_finished) == (1, 1, 1)


def test_a_question_goes_before_captions_that_came_earlier() -> None:
    with house() as inside:
        inside.submit('first')
        inside.wait('first?0')
        inside.caption('caption')
        inside.submit('second')
        inside.stage.open()
        inside.wait('caption finished')
        assert [event for event in inside.stage.events if 'finished' in event] == [
            'first finished', 'second finished', 'caption finished']


def test_a_newer_caption_replaces_the_waiting_one_of_its_camera_only() -> None:
    with house() as inside:
        inside.submit('question')
        inside.wait('question?0')
        old, other, new = inside.caption('old'), inside.caption('other', 'rear'), inside.caption('new')
        inside.stage.open()
        inside.wait('other finished')
        assert isinstance(old.ends[0], RequestReplaced) and new.ends == other.ends == [None]
        assert inside.scheduler.counts().captions_replaced == 1


def test_a_camera_that_captions_often_keeps_its_place_and_so_does_the_other() -> None:
    with house() as inside:
        inside.submit('question')
        inside.wait('question?0')
        for job_id, key in [('front-1', 'front'), ('rear-1', 'rear'), ('front-2', 'front'), ('rear-2', 'rear')]:
            inside.caption(job_id, key)
        inside.stage.open()
        inside.wait('rear-2 finished')
        assert steps_done(inside)[2:] == ['front-2:0', 'front-2:1', 'rear-2:0', 'rear-2:1']


def test_a_running_caption_is_not_replaced() -> None:
    with house() as inside:
        running = inside.caption('running')
        inside.wait('running?0')
        waiting = inside.caption('waiting')
        inside.stage.open()
        inside.wait('waiting finished')
        assert running.ends == waiting.ends == [None]


def test_with_one_slot_a_caption_is_given_up_for_a_question() -> None:
    with house(can_suspend=False) as inside:
        caption = inside.caption('caption')
        inside.wait('caption?0')
        question = inside.submit('question')
        inside.stage.open()
        inside.wait('question finished')
        assert isinstance(caption.ends[0], RequestReplaced) and question.ends == [None]
        assert steps_done(inside) == ['caption:0', 'question:0', 'question:1']


def test_a_full_queue_is_busy_at_once_and_the_refused_job_is_never_called() -> None:
    with house(queue_length=2) as inside:
        inside.submit('running')
        inside.wait('running?0')
        inside.submit('a')
        inside.submit('b')
        refused = inside.job('c')
        with pytest.raises(Busy):
            inside.scheduler.submit(refused)
        inside.caption('captions have their own place')
        inside.stage.open()
        assert inside.scheduler.wait_idle(LIVENESS_SECONDS)
        assert refused.ends == [] and inside.scheduler.counts().questions_refused == 1


def test_an_id_is_refused_while_queued_or_running_and_free_afterwards() -> None:
    with house() as inside:
        inside.submit('a')
        inside.wait('a?0')
        inside.submit('b')
        for job_id in 'ab':
            with pytest.raises(DuplicateRequest):
                inside.submit(job_id)
        inside.stage.open()
        assert inside.scheduler.wait_idle(LIVENESS_SECONDS)
        inside.submit('a')
        assert inside.scheduler.wait_idle(LIVENESS_SECONDS)


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


def test_a_running_job_is_cancelled_after_its_step_and_frees_what_it_holds_before_it_is_told() -> None:
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
        assert 'running finished' not in inside.stage.events and 'waiting?0' not in inside.stage.events


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
        counts = inside.scheduler.counts()
        assert (counts.captions_stale, counts.captions_dropped) == (1, 1)


def _raise(error: BaseException) -> Callable[[int], None]:
    def in_step(number: int) -> None:
        raise error
    return in_step


def test_a_named_error_of_a_step_ends_that_job_with_it_and_the_next_one_runs() -> None:
    with house() as inside:
        error = BackendError('the device is gone')
        failed, next_job = inside.submit('failed', in_step=_raise(error)), inside.submit('next')
        inside.stage.open()
        inside.wait('next finished')
        assert failed.ends == [error] and next_job.ends == [None] and not inside.logged


def test_any_other_exception_becomes_a_backend_error_is_counted_and_logged() -> None:
    with house() as inside:
        cause = ZeroDivisionError('oops')
        failed, next_job = inside.submit('failed', in_step=_raise(cause)), inside.submit('next')
        inside.stage.open()
        inside.wait('next finished')
        assert isinstance(failed.ends[0], BackendError) and failed.ends[0].__cause__ is cause
        assert [error for _, error in inside.logged] == [cause] and inside.scheduler.counts().job_failures == 1
        assert next_job.ends == [None]


def test_a_callback_that_raises_is_counted_and_the_worker_lives() -> None:
    with house() as inside:
        bad = inside.job('bad')
        bad.finish = _raise_now  # type: ignore[method-assign]
        inside.scheduler.submit(bad)
        inside.submit('next')
        inside.stage.open()
        inside.wait('next finished')
        assert inside.scheduler.counts().callback_failures == 1 and len(inside.logged) == 1


def _raise_now() -> None:
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
        assert inside.scheduler.counts().job_failures == 1


def test_a_log_that_raises_does_not_end_the_worker() -> None:
    stage = Stage()

    def log(what: str, error: BaseException) -> None:
        raise OSError('no space left')

    scheduler = Scheduler(4, FakeClock(), log)
    scheduler.start(lambda: True, lambda: None)
    scheduler.wait_open()
    stage.open()
    scheduler.submit(SteppedJob('failed', stage, in_step=_raise(ValueError())))
    scheduler.submit(SteppedJob('next', stage))
    stage.wait('next finished')
    assert scheduler.close(LIVENESS_SECONDS)


def test_pausing_ends_everything_and_refuses_until_resumed() -> None:
    with house() as inside:
        running, waiting = inside.submit('running', step_count=50), inside.submit('waiting')
        caption = inside.caption('caption')
        inside.wait('running?0')
        inside.scheduler.pause(Inactive('deactivated'))
        with pytest.raises(Inactive, match='deactivated'):
            inside.submit('refused')
        inside.stage.permit()
        assert inside.scheduler.wait_idle(LIVENESS_SECONDS)
        assert all(isinstance(job.ends[0], Inactive) and len(job.ends) == 1 for job in (running, waiting, caption))
        inside.scheduler.resume()
        inside.stage.open()
        inside.submit('again')
        inside.wait('again finished')


def test_closing_aborts_what_waits_and_runs_and_closes_the_backend_last() -> None:
    with house() as inside:
        running, waiting = inside.submit('running', step_count=50), inside.submit('waiting')
        inside.wait('running?0')
        inside.stage.permit()
        closer = threading.Thread(target=inside.scheduler.close, args=(LIVENESS_SECONDS,))
        closer.start()
        inside.stage.open()
        closer.join(LIVENESS_SECONDS)
        assert isinstance(running.ends[0], Inactive) and isinstance(waiting.ends[0], Inactive)
        assert inside.stage.events[-1] == 'backend closed'
        with pytest.raises(Inactive):
            inside.submit('late')


def test_closing_during_a_step_that_hangs_reports_so_and_still_ends_every_job_once() -> None:
    with house() as inside:
        running, waiting = inside.submit('running', step_count=3), inside.submit('waiting')
        inside.wait('running?0')
        assert inside.scheduler.close(0.01) is False
        assert isinstance(running.ends[0], Inactive) and isinstance(waiting.ends[0], Inactive)
        assert running.is_holding and 'backend closed' not in inside.stage.events
        inside.stage.open()  # the step returns after all
        assert inside.scheduler.close(LIVENESS_SECONDS)
        assert len(running.ends) == len(waiting.ends) == 1 and not running.is_holding
        assert steps_done(inside) == ['running:0'] and inside.stage.events[-1] == 'backend closed'


def test_a_callback_may_close_the_scheduler() -> None:
    with house() as inside:
        job = inside.job('job')
        end = job.finish
        job.finish = lambda: (inside.scheduler.close(LIVENESS_SECONDS), end())[1]  # type: ignore[method-assign]
        inside.stage.open()
        inside.scheduler.submit(job)
        inside.wait('backend closed')
        assert job.ends == [None]


def test_an_error_of_opening_reaches_who_waits_and_refuses_jobs() -> None:
    closed = threading.Event()

    def fail() -> bool:
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

    def fail() -> bool:
        raise ValueError('odd')

    scheduler = Scheduler(4, FakeClock(), lambda what, error: logged.append(error))
    scheduler.start(fail, lambda: None)
    with pytest.raises(BackendError, match='odd'):
        scheduler.wait_open()
    assert len(logged) == 1


def test_closing_interrupts_who_waits_for_the_backend() -> None:
    opening, go_on = threading.Event(), threading.Event()
    waited: list[PenguinError] = []

    def open_slowly() -> bool:
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
    """What no job is expected to raise."""


def test_the_death_of_the_worker_ends_every_job_and_is_seen() -> None:
    inside = House()
    dying, waiting, caption = inside.submit('dying', in_step=_raise(Fatal())), inside.submit('waiting'), inside.caption('caption')
    inside.stage.open()
    inside.wait('backend closed')
    for job in (dying, waiting, caption):
        assert len(job.ends) == 1 and isinstance(job.ends[0], BackendError)
    status = inside.scheduler.worker()
    assert status.state == WorkerState.FAILED and isinstance(status.failure, BackendError) and status.step_ns == 0
    with pytest.raises(Inactive, match='worker thread failed'):
        inside.submit('late')
    assert inside.scheduler.close(LIVENESS_SECONDS)


def test_the_watchdog_sees_how_long_a_step_takes() -> None:
    with house() as inside:
        inside.submit('job')
        inside.wait('job?0')
        inside.clock.turn(7_000)
        status = inside.scheduler.worker()
        assert status.state == WorkerState.SERVING and status.step_ns == 7_000
        inside.stage.open()
        assert inside.scheduler.wait_idle(LIVENESS_SECONDS)
        inside.submit('next')
        inside.wait('next finished')
        assert inside.scheduler.worker().heartbeat_ns == inside.clock()


def test_a_scheduler_is_used_once() -> None:
    with house() as inside, pytest.raises(Inactive):
        inside.scheduler.start(lambda: True, lambda: None)
