# SPDX-License-Identifier: Apache-2.0
"""The memory node asks a penguin node about stored pictures, and about captions: what it sends,
what it makes of the answers, and what it says when nobody answers.

The penguin node's action is served by the test, so that every picture and choice is seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from penguin_msgs.msg import Answer, ErrorCode
from support.graph import stamp_ns
from support.memory_graph import MemoryGraph
from support.remembered_film import BEGIN, PICTURES, film, yes_for

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.conversions.times import duration_message, time_message


@pytest.fixture
def memory(fresh_graph: Any) -> Iterator[MemoryGraph]:
    memory = MemoryGraph(fresh_graph, fresh_graph.folder / 'store')
    yield memory
    memory.close()


@pytest.mark.slow
def test_a_question_about_an_interval_is_asked_with_the_stored_pictures_and_their_true_times(
    memory: MemoryGraph,
) -> None:
    memory.start(PICTURES)
    stamps = film(memory, 4)
    penguin = memory.answering(yes_for())
    interval = {
        'has_interval': True,
        'start': time_message(stamps[1] - NANOSECONDS // 4),
        'end': time_message(stamps[3]),
    }
    response = memory.look_again(question='Is it damaged?', max_pictures=2, **interval)
    assert response.success, response.message
    goal = penguin.goals[-1]
    assert goal.question == 'Is it damaged?'
    assert [stamp_ns(each) for each in goal.image_stamps] == [stamps[1], stamps[3]]
    images = [cv2.imdecode(np.frombuffer(bytes(each.data), np.uint8), 1) for each in goal.images]
    assert [image.shape for image in images] == [(48, 64, 3)] * 2
    assert abs(images[0].astype(int) - images[1].astype(int)).max() > 50  # the square has moved
    evidence = response.answer.evidence
    assert [(each.camera, stamp_ns(each.stamp)) for each in evidence.frames] == [
        ('front', stamps[1]),
        ('front', stamps[3]),
    ]
    assert [entry.text for entry in response.entries] == [
        'scene 1 with a box',
        'scene 3 with a box',
    ]
    ids = [entry.id for entry in response.entries]
    by_id = memory.look_again(question='Is it?', entries=ids[:1], choices=['yes', 'no'])
    assert by_id.success, by_id.message
    assert [stamp_ns(each) for each in penguin.goals[-1].image_stamps] == [stamps[1]]
    assert list(penguin.goals[-1].choices) == ['yes', 'no']


def test_last_seen_is_the_newest_mention_that_its_picture_confirms(memory: MemoryGraph) -> None:
    memory.start({**PICTURES, 'look.question': 'Do you see a {thing}?', 'recall.meaning': False})
    stamps = film(memory, 4)
    penguin = memory.answering(yes_for(stamps[1]))
    seen = memory.last_seen('the box')
    assert seen.success, seen.message
    assert seen.is_found
    assert seen.is_confirmed
    assert seen.probability == pytest.approx(0.9)
    assert stamp_ns(seen.entry.end) == stamps[1]
    assert [entry.text for entry in seen.refuted] == ['scene 3 with a box', 'scene 2 with a box']
    assert penguin.goals[0].question == 'Do you see a the box?'
    trusting = memory.last_seen('the box', without_looking=True)
    assert stamp_ns(trusting.entry.end) == stamps[3]
    assert not trusting.is_confirmed
    assert len(penguin.goals) == 3
    never = memory.last_seen('zebra')
    assert never.success
    assert not never.is_found
    assert not memory.last_seen('the').success


@pytest.mark.slow
def test_without_a_penguin_node_looking_again_says_so_and_captions_still_answer(
    memory: MemoryGraph,
) -> None:
    memory.start(PICTURES)
    stamps = film(memory, 1)
    response = memory.look_again(
        question='What?', has_interval=True, start=time_message(0), end=time_message(stamps[0])
    )
    assert not response.success
    assert response.answer.error_code == ErrorCode.INACTIVE
    assert 'no penguin node answers: /penguin' in response.message
    assert memory.last_seen('box', without_looking=True).is_found


@pytest.mark.slow
def test_a_penguin_node_that_never_answers_ends_the_wait_at_the_deadline_and_blocks_nobody(
    memory: MemoryGraph,
) -> None:
    memory.start(PICTURES)
    film(memory, 1)
    penguin = memory.answering(yes_for())
    penguin.is_silent = True
    start = time.monotonic()
    request: dict[str, Any] = {
        'question': 'What?',
        'has_interval': True,
        'end': time_message(BEGIN + NANOSECONDS),
        'deadline': duration_message(3 * NANOSECONDS),
    }
    client = memory.graph.client(_kind(), '/memory/look_again')
    future = client.call_async(_kind().Request(**request))
    memory.graph.wait_for(lambda: penguin.goals)
    assert memory.texts() == ['scene 0 with a box']  # meanwhile
    assert not future.done()
    response = memory.graph.result(future)
    assert response.answer.error_code == ErrorCode.DEADLINE
    assert 2.5 < time.monotonic() - start < 20
    memory.graph.wait_for(lambda: penguin.cancelled, what='the goal to be cancelled')


def _kind() -> Any:
    from penguin_msgs.srv import LookAgain

    return LookAgain


@pytest.mark.slow
@pytest.mark.parametrize(
    'fields',
    [
        {},
        {'entries': [1], 'has_interval': True},
        {'entries': [999]},
        {'has_interval': True, 'start': time_message(9), 'end': time_message(3)},
        {'entries': [1]},  # it has no picture
        {'entries': [1], 'deadline': duration_message(-1)},
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_words(
    memory: MemoryGraph, fields: dict[str, Any]
) -> None:
    memory.start({'pose.base_frame': ''})
    memory.answering(yes_for())
    memory.say('a box', BEGIN)
    memory.wait_for_texts('a box')
    response = memory.look_again(question='What?', **fields)
    assert not response.success
    assert response.answer.error_code == ErrorCode.INVALID_REQUEST
    assert response.message


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_picture_is_kept_unless_that_is_wanted(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': ''})
    memory.say('a box', BEGIN)
    memory.wait_for_texts('a box')
    assert not memory.recall(wants_pictures=True).entries[0].has_picture
    assert not list(memory.folder.rglob('*.jp*g'))
    assert memory.graph.node.count_subscribers('/camera/image') == 0


@pytest.mark.slow
def test_pictures_keep_to_their_size_and_to_one_in_a_period(memory: MemoryGraph) -> None:
    memory.start({**PICTURES, 'picture.size': 32, 'picture.period': 2.5})
    film(memory, 5)
    entries = memory.recall(wants_pictures=True, is_newest_first=True).entries
    assert [entry.has_picture for entry in entries] == [False, True, False, False, True]
    sizes = [
        cv2.imdecode(np.frombuffer(bytes(each.data), np.uint8), 1).shape
        for entry in entries
        for each in entry.picture
    ]
    assert sizes == [(24, 32, 3)] * 2


# --- summaries ------------------------------------------------------------------------------------


def summary_goal(memory: MemoryGraph, **fields: Any) -> tuple[int, Any]:
    handle = memory.summarise(start=time_message(0), end=time_message(2 * BEGIN), **fields)
    response = memory.graph.result(handle.get_result_async(), 30)
    return response.status, response.result


def numbered(goal: Any) -> Answer:
    answer = Answer(id=goal.id, text=f'part of {goal.question.count("word")} words')
    answer.evidence.prompt_tokens = 7
    return answer


def with_captions(memory: MemoryGraph, count: int) -> None:
    memory.start({'pose.base_frame': '', 'summary.prompt_characters': 400, 'summary.max_tokens': 8})
    for number in range(count):
        memory.say(f'number{number} word word', BEGIN + number * NANOSECONDS)
    memory.graph.wait_for(lambda: len(memory.texts()) == count)


def test_a_summary_takes_the_prompts_that_its_dry_run_tells_and_no_picture(
    memory: MemoryGraph,
) -> None:
    with_captions(memory, 60)
    penguin = memory.answering(numbered)
    status, dry = summary_goal(memory, is_dry_run=True)
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert (dry.captions, dry.text, len(penguin.goals)) == (60, '', 0)
    assert dry.prompts > 4
    assert dry.prompt_tokens > 500
    status, result = summary_goal(memory, focus='the words')
    assert status == GoalStatus.STATUS_SUCCEEDED, result.message
    assert result.prompts == len(penguin.goals) == dry.prompts
    assert result.prompt_tokens == 7 * dry.prompts
    assert result.text.startswith('part of')
    assert len(result.entries) == 60
    assert all(not goal.images and goal.camera == 'none' for goal in penguin.goals)
    assert all('the words' in goal.question for goal in penguin.goals)
    read = '\n'.join(goal.question for goal in penguin.goals)
    assert all(f'number{number} ' in read for number in range(60))


@pytest.mark.slow
def test_a_summary_that_costs_more_than_allowed_is_refused_before_the_first_prompt(
    memory: MemoryGraph,
) -> None:
    with_captions(memory, 60)
    penguin = memory.answering(numbered)
    status, result = summary_goal(memory, max_prompts=2)
    assert status == GoalStatus.STATUS_ABORTED
    assert result.error_code == ErrorCode.INVALID_REQUEST
    assert '2 are allowed' in result.message
    assert not penguin.goals


def test_a_summary_can_be_cancelled_in_the_middle_of_a_prompt(memory: MemoryGraph) -> None:
    with_captions(memory, 60)
    penguin = memory.answering(numbered)
    penguin.is_silent = True
    handle = memory.summarise(start=time_message(0), end=time_message(2 * BEGIN))
    result = handle.get_result_async()
    memory.graph.wait_for(lambda: penguin.goals)
    memory.graph.result(handle.cancel_goal_async())
    response = memory.graph.result(result, 5)
    assert response.status == GoalStatus.STATUS_CANCELED
    assert response.result.error_code == ErrorCode.CANCELLED
    memory.graph.wait_for(lambda: penguin.cancelled, what='the prompt to be cancelled')
    assert len(penguin.goals) == 1
