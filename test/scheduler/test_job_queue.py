# SPDX-License-Identifier: Apache-2.0
"""Who runs when: questions first, captions in the order in which they were asked for, never too many."""
from __future__ import annotations

import pytest
from scheduler.stepped_jobs import LIVENESS_SECONDS, house, steps_done

from penguin_ros.errors import Busy, DuplicateRequest, RequestReplaced


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


def test_a_newer_caption_takes_the_place_of_the_one_it_replaces_so_that_its_camera_is_not_passed_over() -> None:
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
