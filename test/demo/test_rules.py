# SPDX-License-Identifier: Apache-2.0
"""Rules of a demo: which there are, and when one that fires is called right."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('penguin_msgs.msg')

from penguin_msgs.msg import Event

from penguin_ros.config import PenguinConfig
from penguin_ros.demo.rules import RuleWatch, write_rules
from penguin_ros.ros.client.session import session
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.ros.sim_camera.scenes import Showing, ground_truth
from penguin_ros.rules.rule_set import RuleSet
from penguin_ros.rules.rule_store import RuleStore
from penguin_ros.simulation.ground_truth import GroundTruth
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.world import World

SECOND = 10**9


def test_there_is_a_rule_for_each_thing_of_the_world(tmp_path: Path) -> None:
    count = write_rules(tmp_path / 'rules.yaml')
    rules = RuleSet(PenguinConfig(), ['camera'])
    problems, _ = RuleStore(tmp_path / 'rules.yaml').load_into(rules, 0)
    assert not problems and len(rules.rules()) == count > 20
    assert rules.rule('red_box').condition == 'Is there a red box?'


@pytest.fixture
def watched(ros_domain: int) -> Iterator[tuple[RuleWatch, GroundTruth]]:
    if importlib.util.find_spec('mujoco') is None:
        pytest.skip('no MuJoCo here')
    with World() as world, session('test_demo_rules') as watch_session:
        truth = ground_truth(world, random_scene(3, 3, 3.0), Showing(0, 0, 10 * SECOND, 3.0, 0))
        yield RuleWatch(watch_session.node, '/penguin', world, {0: truth}), truth


def test_a_rule_that_fires_is_held_against_the_truth_with_its_delay(
    watched: tuple[RuleWatch, GroundTruth], capsys: pytest.CaptureFixture[str]
) -> None:
    watch, truth = watched
    thing = truth.scene.things[0]
    seen = truth.truth_between(watch._world, truth.start_ns, truth.start_ns).present
    assert (thing.colour, thing.shape) in [sight.name for sight in seen]
    stamp = time_message(truth.start_ns + SECOND)
    for rule in (f'{thing.colour}_{thing.shape}', 'no_thing'):
        event = Event(rule=rule, kind=Event.BEGIN, probabilities=[0.9, 1.0])
        event.header.stamp = stamp
        watch._new.append(event)
    end = Event(rule='no_thing', kind=Event.END)
    end.header.stamp = stamp
    watch._new.append(end)
    watch.show_new()
    right, wrong = watch.firings
    assert right.delay_s == pytest.approx(1.0) and wrong.delay_s is None
    out = capsys.readouterr().out
    assert 'told 1.0 s later' in out and 'WRONG' in out
    assert watch.summary().startswith('rules fired 2 times, 1 rightly: 1.0 s after')
