# SPDX-License-Identifier: Apache-2.0
"""launch/simulation.launch.py: the simulated camera and the node, with the same parameters and one
time.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.launch_stand_ins import arguments_of, assert_node_is_included, described, kind

pytest.importorskip('rclpy', reason='no ROS 2 here')


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    return described(monkeypatch, 'simulation.launch.py')


def camera(entities: list[Any], **given: str) -> Any:
    """The camera's node for these arguments."""
    function = next(entity for entity in entities if kind(entity) == 'OpaqueFunction').named[
        'function'
    ]
    (node,) = function(arguments_of(entities, **given))
    return node


def test_every_argument_is_declared_with_a_default_and_a_description(entities: list[Any]) -> None:
    declared = [entity.named for entity in entities if kind(entity) == 'DeclareLaunchArgument']
    assert len(declared) == 8
    assert all('default_value' in named and len(named['description']) > 20 for named in declared)


def test_the_camera_gets_parameters_that_it_has_over_those_of_the_file(entities: list[Any]) -> None:
    from penguin_ros.ros.sim_camera.parameters import SimCameraParameters

    node = camera(entities, seed='77', level='2', real_time_factor='2', namespace='robot')
    assert (node.named['executable'], node.named['name'], node.named['namespace']) == (
        'sim_camera',
        'sim_camera',
        'robot',
    )
    file, parameters = node.named['parameters']
    values = {name: value.values[0] for name, value in parameters.items()}
    assert file == '/share/penguin_ros/config/simulation.yaml'
    assert values == {'scene': '', 'seed': 77, 'level': 2, 'real_time_factor': 2.0}
    types = {item.name: type(item.default) for item in dataclasses.fields(SimCameraParameters)}
    assert all(type(value) is types[name] for name, value in values.items())


def test_the_camera_is_not_remapped_and_starts_with_its_own_defaults(entities: list[Any]) -> None:
    from penguin_ros.ros.sim_camera.parameters import SimCameraParameters

    defaults = SimCameraParameters()
    node = camera(entities)
    assert 'remappings' not in node.named
    assert all(
        value.values[0] == getattr(defaults, name)
        for name, value in node.named['parameters'][1].items()
    )


def test_the_node_is_started_by_its_own_launch_file_in_simulated_time(
    entities: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_node_is_included(entities, monkeypatch)
