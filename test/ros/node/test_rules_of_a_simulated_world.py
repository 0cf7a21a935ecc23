# SPDX-License-Identifier: Apache-2.0
"""End to end over ROS topics in simulated time: the included model watches every thing that the
simulated world has, and each rule that fires is held against the truth.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from penguin_msgs.msg import Event
from support.simulated_world import SimulatedWorld

from penguin_ros.config import ModelConfig
from penguin_ros.demo.rules import RuleWatch, write_rules
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.shipped import shipped_model
from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.simulation.world import World

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec('mujoco') is None, reason='no MuJoCo here'),
]

SHOWINGS = 8
FIRST_SCENE = HELD_OUT[2000]
LATEST_S = 2.5
"""Two evaluations of three, a second apart, and a frame in which the thing is seen for the first
time.
"""


def test_rules_fire_for_what_has_come_into_view_and_end_when_it_is_gone(
    fresh_graph: Any, tmp_path: Path
) -> None:
    if shipped_model() is None:
        pytest.skip('the included model has no weights here')
    bundle = with_bundle(ModelConfig(checkpoint='penguin_sim', backend='onnxruntime')).bundle
    write_rules(tmp_path / 'rules.yaml')
    node = {
        'model.bundle': bundle,
        'rule.file': str(tmp_path / 'rules.yaml'),
        'caption.enabled': False,
    }
    events: list[Any] = fresh_graph.collect(Event, '/penguin/event')
    with World() as world:
        run = SimulatedWorld(fresh_graph, world, node, {'seed': FIRST_SCENE, 'level': 3})
        truths: dict[int, Any] = {}
        watch = RuleWatch(fresh_graph.node, '/penguin', world, truths)

        def looked() -> bool:
            truths.update({each.number: each for each in run.showings})
            watch.show_new()
            return len(run.showings) > SHOWINGS

        fresh_graph.wait_for(looked, 180, f'{SHOWINGS} showings')
        run.stop()
    right = [each.delay_s for each in watch.firings if each.delay_s is not None]
    assert len(right) >= SHOWINGS and len(right) >= 0.9 * len(watch.firings), watch.firings
    assert all(0.0 <= delay_s <= LATEST_S for delay_s in right), watch.firings
    begun = {each.id: each.rule for each in events if each.kind == Event.BEGIN}
    ended = [each.id for each in events if each.kind == Event.END]
    assert len(ended) == len(set(ended)) and set(ended) <= set(begun)
    assert len(ended) >= len(begun) / 2, 'things of another scene are gone'
