# SPDX-License-Identifier: Apache-2.0
"""A started job that waits for something else than the worker is parked, and others run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.stepped_jobs import SteppedJob, SteppedScheduler, stepped_scheduler

from penguin_ros.errors import Busy
from penguin_ros.request import Priority


@pytest.fixture
def stepped() -> Iterator[SteppedScheduler]:
    with stepped_scheduler(queue_length=2) as running:
        running.stage.open()
        yield running


def parking(stepped: SteppedScheduler, name: str, **facts: object) -> SteppedJob:
    """Submits a job that waits for something after its first step."""
    job = stepped.job(name, **facts)

    def in_step(number: int) -> None:
        job.is_ready = number > 0

    job.in_step = in_step
    stepped.scheduler.submit(job)
    stepped.wait(f'{name}:0')
    return job


def go_on(stepped: SteppedScheduler, job: SteppedJob) -> None:
    job.is_ready = True
    stepped.scheduler.wake()
    stepped.wait(f'{job.id} finished')


def test_others_run_while_a_question_is_parked(stepped: SteppedScheduler) -> None:
    parked = parking(stepped, 'away')
    stepped.submit('question')
    stepped.caption('caption')
    for name in ('question', 'caption'):
        stepped.wait(f'{name} finished')
    assert parked.ends == [] and parked.is_holding
    assert stepped.scheduler.stats().questions_running == 1
    go_on(stepped, parked)
    assert parked.ends == [None] and stepped.scheduler.stats().questions_running == 0


def test_a_parked_question_that_is_ready_goes_before_those_that_wait(
    stepped: SteppedScheduler,
) -> None:
    first = parking(stepped, 'first')
    second = stepped.job('second')
    second.in_step = lambda number: setattr(first, 'is_ready', True)
    third = stepped.job('third')
    stepped.scheduler.submit(second)
    stepped.wait('second finished')
    stepped.scheduler.submit(third)
    stepped.wait('third finished')
    assert stepped.stage.events.index('first finished') < stepped.stage.events.index(
        'third finished'
    )


def test_a_camera_whose_caption_is_parked_begins_no_other(stepped: SteppedScheduler) -> None:
    parked = parking(stepped, 'away', priority=Priority.CAPTION, key='front')
    waiting = stepped.caption('next', 'front')
    stepped.caption('other', 'rear')
    stepped.wait('other finished')
    assert waiting.ends == []
    replaced = waiting
    newest = stepped.caption('newest', 'front')
    stepped.wait('next RequestReplaced')
    assert replaced.ends and newest.ends == []
    assert stepped.scheduler.stats().captions_running == 1
    go_on(stepped, parked)
    stepped.wait('newest finished')


def test_parked_questions_count_as_waiting(stepped: SteppedScheduler) -> None:
    parked = [parking(stepped, name) for name in ('one', 'two')]
    with pytest.raises(Busy):
        stepped.submit('three')
    go_on(stepped, parked[0])
    stepped.submit('four')
    stepped.wait('four finished')


@pytest.mark.parametrize('priority', [Priority.QUESTION, Priority.CAPTION])
def test_a_parked_job_ends_by_its_deadline_or_when_it_is_cancelled(
    stepped: SteppedScheduler, priority: Priority
) -> None:
    late = parking(stepped, 'late', priority=priority, key='a', deadline_ns=stepped.clock() + 100)
    cancelled = parking(stepped, 'cancelled', priority=priority, key='b')
    stepped.clock.turn(200)
    stepped.scheduler.wake()
    stepped.wait('late DeadlineExceeded')
    assert stepped.scheduler.cancel('cancelled')
    stepped.wait('cancelled RequestCancelled')
    for job in (late, cancelled):
        assert len(job.ends) == 1 and not job.is_holding
    stepped.submit('after')
    stepped.wait('after finished')


def test_a_scheduler_that_closes_ends_what_is_parked() -> None:
    with stepped_scheduler() as running:
        running.stage.open()
        job = parking(running, 'away')
    assert len(job.ends) == 1 and not job.is_holding
