# SPDX-License-Identifier: Apache-2.0
"""Who runs when: questions first, captions in the order in which they were asked for, never too
many.
"""

from __future__ import annotations

import pytest
from support.stepped_jobs import LIVENESS_SECONDS, house, steps_done

from penguin_ros.errors import Busy, DuplicateRequest, RequestReplaced, StaleFrames
from penguin_ros.request import Priority


def test_questions_run_in_order_of_arrival_and_finish_on_the_worker() -> None:
    with house() as inside:
        jobs = [inside.submit(name) for name in 'abc']
        inside.stage.open()
        inside.wait('c finished')
        assert steps_done(inside) == ['a:0', 'a:1', 'b:0', 'b:1', 'c:0', 'c:1']
        assert [job.ends for job in jobs] == [[None]] * 3
        assert {name for job in jobs for name in job.threads} == {'penguin worker'}


def test_a_question_interrupts_a_caption_between_two_steps_and_the_caption_goes_on_afterwards() -> (
    None
):
    with house() as inside:
        inside.caption('caption', step_count=3)
        inside.wait('caption?0')
        inside.submit('question')
        inside.stage.open()
        inside.wait('caption finished')
        assert steps_done(inside) == [
            'caption:0',
            'question:0',
            'question:1',
            'caption:1',
            'caption:2',
        ]
        counts = inside.scheduler.stats()
        assert (counts.captions_preempted, counts.captions_delayed, counts.captions_finished) == (
            1,
            1,
            1,
        )


def test_a_question_goes_before_captions_that_came_earlier() -> None:
    with house() as inside:
        inside.submit('first')
        inside.wait('first?0')
        inside.caption('caption')
        inside.submit('second')
        inside.stage.open()
        inside.wait('caption finished')
        assert [event for event in inside.stage.events if 'finished' in event] == [
            'first finished',
            'second finished',
            'caption finished',
        ]


def test_a_newer_caption_replaces_the_waiting_one_of_its_camera_only() -> None:
    with house() as inside:
        inside.submit('question')
        inside.wait('question?0')
        old, other, new = (
            inside.caption('old'),
            inside.caption('other', 'rear'),
            inside.caption('new'),
        )
        inside.stage.open()
        inside.wait('other finished')
        assert isinstance(old.ends[0], RequestReplaced) and new.ends == other.ends == [None]
        assert inside.scheduler.stats().captions_replaced == 1


def test_a_newer_caption_takes_the_place_of_the_one_it_replaces_so_that_its_camera_is_not_passed_over() -> (
    None
):
    with house() as inside:
        inside.submit('question')
        inside.wait('question?0')
        for job_id, key in [('front-1', 'front'), ('rear-1', 'rear'), ('front-2', 'front')]:
            inside.caption(job_id, key)
        inside.stage.open()
        inside.wait('rear-1 finished')
        assert steps_done(inside)[2:] == ['front-2:0', 'front-2:1', 'rear-1:0', 'rear-1:1']


def test_a_running_caption_is_not_replaced() -> None:
    with house() as inside:
        running = inside.caption('running')
        inside.wait('running?0')
        waiting = inside.caption('waiting')
        inside.stage.open()
        inside.wait('waiting finished')
        assert running.ends == waiting.ends == [None]


def test_with_one_slot_a_caption_is_given_up_for_a_question() -> None:
    with house(can_preempt=False) as inside:
        caption = inside.caption('caption')
        inside.wait('caption?0')
        question = inside.submit('question')
        inside.stage.open()
        inside.wait('question finished')
        assert isinstance(caption.ends[0], RequestReplaced) and question.ends == [None]
        assert steps_done(inside) == ['caption:0', 'question:0', 'question:1']


def test_the_camera_whose_last_caption_is_the_oldest_is_next_whoever_asked_first() -> None:
    with house() as inside:
        for job_id, key in [('front-1', 'front'), ('rear-1', 'rear')]:
            inside.caption(job_id, key)
            inside.stage.permit(2)
            inside.wait(f'{job_id} finished')
        inside.submit('question')
        inside.wait('question?0')
        for job_id, key in [('rear-2', 'rear'), ('front-2', 'front'), ('left-1', 'left')]:
            inside.caption(job_id, key)
        inside.stage.open()
        inside.wait('rear-2 finished')
        ended = [event.split()[0] for event in inside.stage.events if 'finished' in event]
        assert ended == ['front-1', 'rear-1', 'question', 'left-1', 'front-2', 'rear-2']


def test_a_camera_whose_caption_was_given_up_for_a_question_is_not_passed_over() -> None:
    with house(can_preempt=False) as inside:
        inside.caption('rear-1', 'rear', step_count=1)
        inside.stage.permit(1)
        inside.wait('rear-1 finished')
        inside.caption('front-1')
        inside.wait('front-1?0')
        inside.caption('rear-2', 'rear')
        inside.submit('question')
        inside.caption('front-2')
        inside.stage.open()
        inside.wait('rear-2 finished')
        assert [
            event for event in inside.stage.events if event.endswith(('finished', 'Replaced'))
        ] == [
            'rear-1 finished',
            'front-1 RequestReplaced',
            'question finished',
            'front-2 finished',
            'rear-2 finished',
        ]


def test_captions_of_many_cameras_have_as_many_turns_each_however_often_each_asks() -> None:
    with house() as inside:
        inside.stage.open()
        names, asked, ended = ('a', 'b', 'c'), 0, list[str]()
        for turn in range(12):
            with inside.scheduler._changed:  # so that all wait when the next one is chosen
                for key in (*names, 'a', 'a'):
                    asked += 1
                    inside.caption(f'{key}-{asked}', key, step_count=1)
            assert inside.scheduler.wait_idle(LIVENESS_SECONDS)
            ended = [event[0] for event in inside.stage.events if event.endswith('finished')]
            assert {ended.count(key) for key in names} == {turn + 1}


def test_a_caption_that_rests_for_longer_than_its_longest_pause_is_given_up_as_stale() -> None:
    with house() as inside:
        caption = inside.caption('caption', step_count=3, max_preemption_ns=1_000)
        inside.wait('caption?0')
        inside.submit('question', step_count=3)
        inside.stage.permit(2)
        inside.wait('question?1')
        inside.clock.turn(1_001)
        inside.stage.open()
        inside.wait('question finished')
        assert [type(error) for error in caption.ends] == [StaleFrames] and not caption.is_holding
        counts = inside.scheduler.stats()
        assert (counts.captions_stale, counts.captions_dropped, counts.captions_finished) == (
            1,
            1,
            0,
        )


def test_pauses_add_up_and_time_in_which_it_runs_does_not_count() -> None:
    with house() as inside:
        caption = inside.caption('caption', step_count=3, max_preemption_ns=1_000)
        inside.wait('caption?0')
        inside.clock.turn(5_000)
        for question in ('first', 'second'):
            inside.submit(question, step_count=1)
            inside.stage.permit(1)
            inside.wait(f'{question}?0')
            inside.clock.turn(600)
            inside.stage.permit(1)
            inside.wait(f'{question} finished')
        inside.stage.open()
        assert inside.scheduler.wait_idle(LIVENESS_SECONDS)
        assert [type(error) for error in caption.ends] == [StaleFrames]


def test_work_ahead_runs_when_nothing_else_is_to_do_and_gives_way_between_two_steps() -> None:
    with house() as inside:
        ahead = inside.submit('ahead', priority=Priority.BACKGROUND, key='front', step_count=3)
        inside.wait('ahead?0')
        inside.caption('caption', step_count=1)
        inside.submit('question', step_count=1)
        inside.stage.open()
        inside.wait('ahead finished')
        assert steps_done(inside) == [
            'ahead:0',
            'question:0',
            'caption:0',
            'ahead:1',
            'ahead:2',
        ] and ahead.ends == [None]
        assert inside.scheduler.stats().precomputes_finished == 1


def test_newer_work_ahead_replaces_the_waiting_one_of_its_camera() -> None:
    with house() as inside:
        inside.submit('question')
        inside.wait('question?0')
        old, other, new = (
            inside.submit(name, priority=Priority.BACKGROUND, key=key)
            for name, key in [('old', 'front'), ('other', 'rear'), ('new', 'front')]
        )
        inside.stage.open()
        assert inside.scheduler.wait_idle(LIVENESS_SECONDS)
        assert isinstance(old.ends[0], RequestReplaced) and new.ends == other.ends == [None]
        counts = inside.scheduler.stats()
        assert (
            counts.precomputes_replaced,
            counts.precomputes_dropped,
            counts.captions_replaced,
        ) == (1, 1, 0)


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
        assert refused.ends == [] and inside.scheduler.stats().questions_refused == 1


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
