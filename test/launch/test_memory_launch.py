# SPDX-License-Identifier: Apache-2.0
"""launch/memory.launch.py: which arguments it declares, and what they become on the node's
command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.launch_stand_ins import arguments_of, described, kind

from penguin_ros.ros.process.node_process import MAIN_MODULES


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    return described(monkeypatch, 'memory.launch.py')


def start(entities: list[Any], **given: str) -> Any:
    (node,) = entities[-1].named['function'](arguments_of(entities, **given))
    return node


def parameters(node: Any) -> dict[str, Any]:
    given = [values for values in node.named['parameters'] if isinstance(values, dict)]
    return {name: value.values[0] for values in given for name, value in values.items()}


def test_every_argument_has_a_default_and_says_what_it_is(entities: list[Any]) -> None:
    declared = [each for each in entities if kind(each) == 'DeclareLaunchArgument']
    assert len(declared) == 10
    for each in declared:
        assert 'default_value' in each.named
        assert len(each.named['description']) > 20


def test_without_arguments_nothing_is_passed_and_the_node_comes_back_when_it_ends(
    entities: list[Any],
) -> None:
    node = start(entities)
    assert (node.named['executable'], node.named['name']) == ('memory_node', 'memory')
    assert node.named['executable'] in MAIN_MODULES
    assert parameters(node) == {}
    assert node.named['respawn'] is True


def test_arguments_become_the_parameters_of_the_node(entities: list[Any], tmp_path: Path) -> None:
    node = start(
        entities,
        nodes='penguin, /rear/penguin',
        folder=str(tmp_path),
        pictures='true',
        base_frame='base',
        use_sim_time='true',
        respawn='false',
    )
    assert parameters(node) == {
        'nodes': ['penguin', '/rear/penguin'],
        'folder': str(tmp_path),
        'picture.enabled': True,
        'pose.base_frame': 'base',
        'use_sim_time': True,
    }
    assert node.named['respawn'] is False
