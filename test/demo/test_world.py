# SPDX-License-Identifier: Apache-2.0
"""A demo in a simulated world: which captions are compared with what, and when an answer is
called right.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip('penguin_msgs.msg')

from penguin_msgs.msg import Answer, Caption, Evidence, FrameRef
from std_msgs.msg import String

from penguin_ros.demo.watch import DemoTopics
from penguin_ros.demo.world import WorldWatch
from penguin_ros.ros.client.session import session
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.ros.sim_camera.scenes import Showing, ground_truth
from penguin_ros.simulation.ground_truth import GroundTruth, to_json
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.world import World

pytestmark = pytest.mark.skipif(importlib.util.find_spec('mujoco') is None, reason='no MuJoCo here')

SECOND = 10**9


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def watch(ros_domain: int, world: World) -> Iterator[WorldWatch]:
    topics: Any = DemoTopics(None, '/penguin', '/camera/image', 0.0)  # type: ignore[arg-type]
    with session('test_demo_world') as watch_session:
        yield WorldWatch(watch_session, topics, '', '/sim_camera/ground_truth', world)


def shown_scene(watch: WorldWatch, world: World, seed: int, number: int = 0) -> GroundTruth:
    truth = ground_truth(
        world, random_scene(seed, 3, 3.0), Showing(number, 0, (10 + 10 * number) * SECOND, 3.0, 0)
    )
    watch._on_truth(String(data=to_json(truth)))
    return truth


def caption(truth: GroundTruth, text: str, last_s: int = 3) -> Caption:
    stamps = [time_message(truth.start_ns + step * SECOND) for step in range(last_s + 1)]
    return Caption(
        text=text,
        evidence=Evidence(
            start=stamps[0],
            end=stamps[-1],
            model_name='model',
            frames=[FrameRef(stamp=stamp) for stamp in stamps],
        ),
    )


@pytest.mark.parametrize('seed', range(4))
def test_a_true_caption_has_every_fact_right(watch: WorldWatch, world: World, seed: int) -> None:
    truth = shown_scene(watch, world, seed)
    watch.show_caption(caption(truth, truth.caption))
    shown = watch.shown[0]
    assert (
        shown.score.right == shown.score.claimed == shown.score.wanted > 0
        and not shown.wrong
        and not shown.missed
    )
    assert '(100 %)' in watch.facts_line()


def test_a_false_colour_is_one_wrong_thing_and_one_missed(watch: WorldWatch, world: World) -> None:
    truth = shown_scene(watch, world, 0)
    colour = truth.scene.things[0].colour
    other = next(name for name in ('red', 'blue') if name not in truth.caption)
    watch.show_caption(caption(truth, truth.caption.replace(colour, other, 1)))
    shown = watch.shown[0]
    assert [claim for claim in shown.wrong if claim[0] == 'thing'] and [
        claim for claim in shown.missed if claim[0] == 'thing'
    ]


def test_only_the_first_caption_of_a_whole_scene_is_compared(
    watch: WorldWatch, world: World
) -> None:
    first, second = shown_scene(watch, world, 0, 0), shown_scene(watch, world, 1, 1)
    watch.show_caption(caption(first, first.caption, last_s=1))
    assert not watch.is_ready() and watch.others == 1
    for truth in (first, first, second):
        watch.show_caption(caption(truth, first.caption))
    assert sorted(watch.shown) == [0, 1] and watch.repeated == 1
    assert watch.shown[1].wrong, 'the second scene is another one'
    both = Caption(
        text=first.caption,
        evidence=Evidence(start=time_message(first.end_ns), end=time_message(second.start_ns)),
    )
    watch.show_caption(both)
    assert watch.others == 2


def test_the_question_is_of_the_scene_described_last_and_its_answer_is_checked(
    watch: WorldWatch, world: World
) -> None:
    for number in range(3):
        truth = shown_scene(watch, world, number, number)
        watch.show_caption(caption(truth, truth.caption))
    ask = watch.chosen_question()
    known = {item.question: item.answer for item in truth.questions}
    assert ask.interval_ns == (truth.start_ns, truth.end_ns) and ask.question in known
    watch.answer = Answer(text=known[ask.question].lower().strip('.'))
    assert watch.answer_verdict().startswith('RIGHT') and watch.is_complete
    watch.answer = Answer(text='Perhaps.')
    assert watch.answer_verdict().startswith('WRONG') and watch.is_complete, (
        'an answer that is wrong is an answer'
    )
    watch.answer = Answer(error_code=11)
    assert not watch.is_complete


def test_a_question_of_the_users_own_is_asked_but_not_called_right_or_wrong(
    watch: WorldWatch, world: World
) -> None:
    truth = shown_scene(watch, world, 0)
    watch.show_caption(caption(truth, truth.caption))
    watch.question = 'Is it raining?'
    assert watch.chosen_question().question == 'Is it raining?'
    watch.answer = Answer(text='No.')
    assert 'not checked' in watch.answer_verdict()


def test_the_picture_tells_what_was_shown_and_asked(watch: WorldWatch, world: World) -> None:
    truth = shown_scene(watch, world, 0)
    message = caption(truth, truth.caption)
    watch.captions.append(message)
    stamps = [truth.start_ns + step * SECOND for step in range(4)]
    watch.images.update({stamp: bytes([place]) for place, stamp in enumerate(stamps)})
    watch.show_caption(message)
    watch.images.clear()
    watch.chosen_question()
    watch.answer = Answer(text='Perhaps.')
    sheet = watch.sheet()
    assert [item.text for item in sheet.captions] == [truth.caption] and 'model' in sheet.title
    assert sheet.images == {stamp: bytes([place]) for place, stamp in enumerate(stamps)}, (
        'kept, however long a demo runs'
    )
    assert [label for label, _ in sheet.footer] == ['in all', 'asked', 'answer', '']
