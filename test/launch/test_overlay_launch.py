# SPDX-License-Identifier: Apache-2.0
"""launch/overlay.launch.py: what its arguments become on the node's command."""

from __future__ import annotations

from typing import Any

import pytest
from support.launch_stand_ins import arguments_of, described

from penguin_ros.ros.process.node_process import MAIN_MODULES


def start(monkeypatch: pytest.MonkeyPatch, **given: str) -> tuple[Any, dict[str, Any]]:
    entities = described(monkeypatch, 'overlay.launch.py')
    (node,) = entities[-1].named['function'](arguments_of(entities, **given))
    values = [each for each in node.named['parameters'] if isinstance(each, dict)]
    return node, {name: value.values[0] for each in values for name, value in each.items()}


def test_without_arguments_nothing_is_passed_and_the_node_comes_back_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, parameters = start(monkeypatch)
    assert (node.named['executable'], node.named['name']) == ('overlay_node', 'overlay')
    assert node.named['executable'] in MAIN_MODULES
    assert parameters == {}
    assert node.named['respawn'] is True


def test_arguments_become_the_parameters_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    _, parameters = start(monkeypatch, node='/r1/penguin', rules='all', use_sim_time='true')
    assert parameters == {'node': '/r1/penguin', 'rules.show': 'all', 'use_sim_time': True}
