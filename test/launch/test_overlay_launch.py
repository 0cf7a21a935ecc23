# SPDX-License-Identifier: Apache-2.0
"""launch/overlay.launch.py and record.launch.py: what their arguments become on the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.launch_stand_ins import arguments_of, described

from penguin_ros.ros.process.node_process import MAIN_MODULES


def start(
    monkeypatch: pytest.MonkeyPatch, file: str = 'overlay.launch.py', **given: str
) -> tuple[Any, dict[str, Any]]:
    entities = described(monkeypatch, file)
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


def test_the_recorder_starts_once_and_its_arguments_become_parameters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {'folder': str(tmp_path / 'drive'), 'pictures': 'compressed', 'topics': '/tf, /odom'}
    node, parameters = start(monkeypatch, 'record.launch.py', **given)
    assert (node.named['executable'], node.named['name']) == ('record_node', 'recorder')
    assert node.named['executable'] in MAIN_MODULES
    assert node.named['respawn'] is False  # a recording is never added to
    assert parameters == {
        'folder': str(tmp_path / 'drive'),
        'picture.transport': 'compressed',
        'topics': ['/tf', '/odom'],
    }
