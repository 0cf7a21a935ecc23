# SPDX-License-Identifier: Apache-2.0
"""launch/simulation.launch.py: the simulated camera and the node, with the same parameters and one
time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.launch_stand_ins import (
    arguments_of,
    assert_model_is_completed,
    assert_node_is_included,
    described,
    included_arguments,
    kind,
)

from penguin_ros.errors import SettingError

pytest.importorskip('rclpy', reason='no ROS 2 here')


ROOT = Path(__file__).resolve().parents[2]
FILE = str(ROOT / 'config' / 'simulation.yaml')
SCENE = str(ROOT / 'worlds' / 'penguin_demo.json')


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    return described(monkeypatch, 'simulation.launch.py')


def camera(entities: list[Any], **given: str) -> Any:
    """The camera's node for these arguments."""
    function = next(entity for entity in entities if kind(entity) == 'OpaqueFunction').named[
        'function'
    ]
    (node,) = function(arguments_of(entities, **{'params_file': FILE, **given}))
    return node


def test_every_argument_is_declared_with_a_default_and_a_description(entities: list[Any]) -> None:
    declared = [entity.named for entity in entities if kind(entity) == 'DeclareLaunchArgument']
    assert len(declared) == 9
    assert all('default_value' in named and len(named['description']) > 20 for named in declared)


def test_the_camera_gets_parameters_that_it_has_over_those_of_the_file(entities: list[Any]) -> None:
    from penguin_ros.ros.sim_camera.parameters import SimCameraParameters

    node = camera(
        entities, scene=SCENE, seed='77', level='2', real_time_factor='2', namespace='robot'
    )
    assert (node.named['executable'], node.named['name'], node.named['namespace']) == (
        'sim_camera',
        'sim_camera',
        'robot',
    )
    file, parameters = node.named['parameters']
    values = {name: value.values[0] for name, value in parameters.items()}
    assert file == FILE
    assert values == {'scene': SCENE, 'seed': 77, 'level': 2, 'real_time_factor': 2.0}
    types = {item.name: type(item.default) for item in dataclasses.fields(SimCameraParameters)}
    assert all(type(value) is types[name] for name, value in values.items())


def test_what_is_not_given_overrides_nothing_of_the_parameter_file(entities: list[Any]) -> None:
    node = camera(entities)
    assert 'remappings' not in node.named
    assert node.named['parameters'] == [FILE]
    (_, parameters) = camera(entities, seed='5').named['parameters']
    assert set(parameters) == {'seed'}


@pytest.mark.parametrize(
    'given', [{'seed': 'abc'}, {'level': '7'}, {'real_time_factor': 'x'}, {'scene': '/no/such'}]
)
def test_an_argument_that_cannot_be_used_is_named(
    entities: list[Any], given: dict[str, str]
) -> None:
    ((name, value),) = given.items()
    with pytest.raises(SettingError, match=f'{name}:={value}'):
        camera(entities, **given)


def test_without_arguments_the_node_runs_the_model_that_is_included(
    entities: list[Any], tmp_path: Path
) -> None:
    assert_model_is_completed(entities, tmp_path)


def test_time_is_the_worlds_unless_somebody_says_something_of_it(
    entities: list[Any], tmp_path: Path
) -> None:
    silent = tmp_path / 'silent.yaml'
    silent.write_text('/**: {ros__parameters: {clip: {fps: 1.0}}}')
    given = {'params_file': str(silent), 'bundle': '/b'}
    assert included_arguments(entities, **given)['use_sim_time'] == 'true'
    of_parent = {'global_params': [('use_sim_time', 'False')]}
    assert included_arguments(entities, **given, **of_parent)['use_sim_time'] == ''
    assert included_arguments(entities, **given, use_sim_time='no')['use_sim_time'] == 'no'


def test_the_node_is_started_by_its_own_launch_file_in_simulated_time(
    entities: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_node_is_included(entities, monkeypatch)
