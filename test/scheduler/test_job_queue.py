# SPDX-License-Identifier: Apache-2.0
"""Which job runs when: questions first, captions camera by camera, never too many."""

from __future__ import annotations

import pytest
from support.stepped_jobs import LIVENESS_SECONDS, stepped_scheduler, steps_done

from penguin_ros.errors import Busy, DuplicateRequest, RequestReplaced, StaleFrames
from penguin_ros.request import Priority


def test_questions_run_in_order_of_arrival_and_finish_on_the_worker() -> None:
    with stepped_scheduler() as stepped:
        jobs = [stepped.submit(name) for name in 'abc']
        stepped.stage.open()
        stepped.wait('c finished')
        assert steps_done(stepped) == ['a:0', 'a:1', 'b:0', 'b:1', 'c:0', 'c:1']
        assert [job.ends for job in jobs] == [[None]] * 3
        assert {name for job in jobs for name in job.threads} == {'penguin worker'}


def test_others_pass_a_question_that_is_not_ready_until_it_is() -> None:
    with stepped_scheduler() as stepped:
        stepped.stage.open()
        unready = stepped.submit('unready', is_ready=False)
        stepped.submit('question')
        stepped.caption('caption')
        stepped.wait('question finished')
        stepped.wait('caption finished')
        assert not unready.ends and stepped.scheduler.stats().questions_waiting == 1
        with pytest.raises(DuplicateRequest):
            stepped.submit('unready')
        unready.is_ready = True
        stepped.scheduler.wake()
        stepped.wait('unready finished')


def test_a_question_that_is_not_ready_counts_in_the_line_and_ends_as_any_other() -> None:
    with stepped_scheduler(queue_length=3) as stepped:
        jobs = [stepped.submit(name, is_ready=False, deadline_ns=10**9) for name in 'abc']
        with pytest.raises(Busy):
            stepped.submit('d')
        assert stepped.scheduler.cancel('a')
        stepped.wait('a RequestCancelled')
        stepped.scheduler.end(jobs[1], StaleFrames('gone'))
        stepped.wait('b StaleFrames')
        stepped.clock.turn(10**9)
        stepped.scheduler.wake()
        stepped.wait('c DeadlineExceeded')
        again = stepped.submit('b', is_ready=False)
        stepped.scheduler.end(jobs[1], StaleFrames('gone'))
        assert len(jobs[1].ends) == 1 and not again.ends, 'another job of that id goes on'


def test_a_question_preempts_a_caption_between_two_steps_and_it_is_resumed_afterwards() -> None:
    with stepped_scheduler() as stepped:
        stepped.caption('caption', step_count=3)
        stepped.wait('caption?0')
        stepped.submit('question')
        stepped.stage.open()
        stepped.wait('caption finished')
        assert steps_done(stepped) == [
            'caption:0',
            'question:0',
            'question:1',
            'caption:1',
            'caption:2',
        ]
        counts = stepped.scheduler.stats()
        assert (counts.captions_preempted, counts.captions_delayed, counts.captions_finished) == (
            1,
            1,
            1,
        )


def test_a_question_goes_before_captions_that_came_earlier() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('first')
        stepped.wait('first?0')
        stepped.caption('caption')
        stepped.submit('second')
        stepped.stage.open()
        stepped.wait('caption finished')
        assert [event for event in stepped.stage.events if 'finished' in event] == [
            'first finished',
            'second finished',
            'caption finished',
        ]


def test_a_newer_caption_replaces_the_waiting_one_of_its_camera_only() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('question')
        stepped.wait('question?0')
        old, other, new = (
            stepped.caption('old'),
            stepped.caption('other', 'rear'),
            stepped.caption('new'),
        )
        stepped.stage.open()
        stepped.wait('other finished')
        assert isinstance(old.ends[0], RequestReplaced) and new.ends == other.ends == [None]
        assert stepped.scheduler.stats().captions_replaced == 1


def test_a_newer_caption_takes_the_place_in_line_of_the_one_that_it_replaces() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('question')
        stepped.wait('question?0')
        for job_id, key in [('front-1', 'front'), ('rear-1', 'rear'), ('front-2', 'front')]:
            stepped.caption(job_id, key)
        stepped.stage.open()
        stepped.wait('rear-1 finished')
        assert steps_done(stepped)[2:] == ['front-2:0', 'front-2:1', 'rear-1:0', 'rear-1:1']


def test_a_running_caption_is_not_replaced() -> None:
    with stepped_scheduler() as stepped:
        running = stepped.caption('running')
        stepped.wait('running?0')
        waiting = stepped.caption('waiting')
        stepped.stage.open()
        stepped.wait('waiting finished')
        assert running.ends == waiting.ends == [None]


def test_with_one_slot_a_caption_is_given_up_for_a_question() -> None:
    with stepped_scheduler(slots=1) as stepped:
        caption = stepped.caption('caption')
        stepped.wait('caption?0')
        question = stepped.submit('question')
        stepped.stage.open()
        stepped.wait('question finished')
        assert isinstance(caption.ends[0], RequestReplaced) and question.ends == [None]
        assert steps_done(stepped) == ['caption:0', 'question:0', 'question:1']


def test_the_camera_whose_last_caption_is_the_oldest_is_next_whoever_asked_first() -> None:
    with stepped_scheduler() as stepped:
        for job_id, key in [('front-1', 'front'), ('rear-1', 'rear')]:
            stepped.caption(job_id, key)
            stepped.stage.permit(2)
            stepped.wait(f'{job_id} finished')
        stepped.submit('question')
        stepped.wait('question?0')
        for job_id, key in [('rear-2', 'rear'), ('front-2', 'front'), ('left-1', 'left')]:
            stepped.caption(job_id, key)
        stepped.stage.open()
        stepped.wait('rear-2 finished')
        ended = [event.split()[0] for event in stepped.stage.events if 'finished' in event]
        assert ended == ['front-1', 'rear-1', 'question', 'left-1', 'front-2', 'rear-2']


def test_a_camera_whose_caption_was_given_up_for_a_question_is_not_passed_over() -> None:
    with stepped_scheduler(slots=1) as stepped:
        stepped.caption('rear-1', 'rear', step_count=1)
        stepped.stage.permit(1)
        stepped.wait('rear-1 finished')
        stepped.caption('front-1')
        stepped.wait('front-1?0')
        stepped.caption('rear-2', 'rear')
        stepped.submit('question')
        stepped.caption('front-2')
        stepped.stage.open()
        stepped.wait('rear-2 finished')
        assert [
            event for event in stepped.stage.events if event.endswith(('finished', 'Replaced'))
        ] == [
            'rear-1 finished',
            'front-1 RequestReplaced',
            'question finished',
            'front-2 finished',
            'rear-2 finished',
        ]


def test_captions_of_many_cameras_have_as_many_turns_each_however_often_each_asks() -> None:
    with stepped_scheduler() as stepped:
        stepped.stage.open()
        names, asked, ended = ('a', 'b', 'c'), 0, list[str]()
        for turn in range(12):
            with stepped.scheduler._changed:  # so that all wait when the next one is chosen
                for key in (*names, 'a', 'a'):
                    asked += 1
                    stepped.caption(f'{key}-{asked}', key, step_count=1)
            assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
            ended = [event[0] for event in stepped.stage.events if event.endswith('finished')]
            assert {ended.count(key) for key in names} == {turn + 1}


def test_a_caption_that_is_preempted_for_longer_than_allowed_is_given_up_as_stale() -> None:
    with stepped_scheduler() as stepped:
        caption = stepped.caption('caption', step_count=3, max_preemption_ns=1_000)
        stepped.wait('caption?0')
        stepped.submit('question', step_count=3)
        stepped.stage.permit(2)
        stepped.wait('question?1')
        stepped.clock.turn(1_001)
        stepped.stage.open()
        stepped.wait('question finished')
        assert [type(error) for error in caption.ends] == [StaleFrames] and not caption.is_holding
        counts = stepped.scheduler.stats()
        assert (counts.captions_stale, counts.captions_dropped, counts.captions_finished) == (
            1,
            1,
            0,
        )


def test_preemptions_add_up_and_time_in_which_the_caption_runs_does_not_count() -> None:
    with stepped_scheduler() as stepped:
        caption = stepped.caption('caption', step_count=3, max_preemption_ns=1_000)
        stepped.wait('caption?0')
        stepped.clock.turn(5_000)
        for question in ('first', 'second'):
            stepped.submit(question, step_count=1)
            stepped.stage.permit(1)
            stepped.wait(f'{question}?0')
            stepped.clock.turn(600)
            stepped.stage.permit(1)
            stepped.wait(f'{question} finished')
        stepped.stage.open()
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
        assert [type(error) for error in caption.ends] == [StaleFrames]


def test_background_work_runs_when_nothing_else_is_to_do_and_gives_way_between_two_steps() -> None:
    with stepped_scheduler() as stepped:
        background = stepped.submit(
            'background', priority=Priority.BACKGROUND, key='front', step_count=3
        )
        stepped.wait('background?0')
        stepped.caption('caption', step_count=1)
        stepped.submit('question', step_count=1)
        stepped.stage.open()
        stepped.wait('background finished')
        assert steps_done(stepped) == [
            'background:0',
            'question:0',
            'caption:0',
            'background:1',
            'background:2',
        ] and background.ends == [None]
        assert stepped.scheduler.stats().precomputes_finished == 1


def test_newer_background_work_replaces_the_waiting_job_of_its_camera() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('question')
        stepped.wait('question?0')
        old, other, new = (
            stepped.submit(name, priority=Priority.BACKGROUND, key=key)
            for name, key in [('old', 'front'), ('other', 'rear'), ('new', 'front')]
        )
        stepped.stage.open()
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
        assert isinstance(old.ends[0], RequestReplaced) and new.ends == other.ends == [None]
        counts = stepped.scheduler.stats()
        assert (
            counts.precomputes_replaced,
            counts.precomputes_dropped,
            counts.captions_replaced,
        ) == (1, 1, 0)


def test_a_full_queue_is_busy_at_once_and_the_refused_job_is_never_called() -> None:
    with stepped_scheduler(queue_length=2) as stepped:
        stepped.submit('running')
        stepped.wait('running?0')
        stepped.submit('a')
        stepped.submit('b')
        refused = stepped.job('c')
        with pytest.raises(Busy):
            stepped.scheduler.submit(refused)
        stepped.caption('captions have a place of their own')
        stepped.stage.open()
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
        assert refused.ends == [] and stepped.scheduler.stats().questions_refused == 1


def test_an_id_is_refused_while_queued_or_running_and_free_afterwards() -> None:
    with stepped_scheduler() as stepped:
        stepped.submit('a')
        stepped.wait('a?0')
        stepped.submit('b')
        for job_id in 'ab':
            with pytest.raises(DuplicateRequest):
                stepped.submit(job_id)
        stepped.stage.open()
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
        stepped.submit('a')
        assert stepped.scheduler.wait_idle(LIVENESS_SECONDS)
