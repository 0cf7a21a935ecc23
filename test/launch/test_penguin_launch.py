# SPDX-License-Identifier: Apache-2.0
"""launch/penguin.launch.py: which arguments it declares, and what they become on the node's
command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.launch_stand_ins import arguments_of, described, kind

from penguin_ros.config import PenguinConfig
from penguin_ros.settings import settings

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = {
    'namespace',
    'name',
    'params_file',
    'use_sim_time',
    'log_level',
    'cameras',
    'bundle',
    'checkpoint',
    'fastdds_profile',
    'respawn',
    'respawn_delay',
}


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    return described(monkeypatch, 'penguin.launch.py')


def start(entities: list[Any], **given: str) -> list[Any]:
    """The actions for these arguments, the others at their defaults."""
    return list(entities[-1].named['function'](arguments_of(entities, **given)))


def node_parameters(actions: list[Any]) -> dict[str, Any]:
    """The parameters that are passed besides the file."""
    return {name: value.values[0] for name, value in actions[-1].named['parameters'][1].items()}


def test_every_argument_is_declared_with_a_default_and_a_description(entities: list[Any]) -> None:
    declared = {
        entity.values[0]: entity.named
        for entity in entities
        if kind(entity) == 'DeclareLaunchArgument'
    }
    assert set(declared) == ARGUMENTS
    for named in declared.values():
        assert 'default_value' in named
        assert len(named['description']) > 20


def test_without_arguments_the_parameter_file_alone_decides(entities: list[Any]) -> None:
    (node,) = start(entities)
    assert (node.named['package'], node.named['executable']) == ('penguin_ros', 'penguin_node')
    assert node.named['parameters'][0] == '/share/penguin_ros/config/penguin.yaml'
    assert node_parameters([node]) == {'use_sim_time': False}


def test_model_and_time_become_parameters_that_the_node_has(entities: list[Any]) -> None:
    parameters = node_parameters(
        start(entities, checkpoint='/models/1', bundle='engines/a', use_sim_time='true')
    )
    assert parameters == {
        'use_sim_time': True,
        'model.checkpoint': '/models/1',
        'model.bundle': 'engines/a',
    }
    assert {'model.checkpoint', 'model.bundle'} <= set(settings(PenguinConfig()))


def test_cameras_are_given_with_or_without_topics(entities: list[Any]) -> None:
    parameters = node_parameters(start(entities, cameras=' front = /front/image_raw , rear,'))
    assert parameters == {
        'use_sim_time': False,
        'cameras': ['front', 'rear'],
        'camera.front.topic': '/front/image_raw',
    }


def test_namespace_name_and_log_level_reach_the_node(entities: list[Any]) -> None:
    (node,) = start(
        entities,
        namespace='robot',
        name='eyes',
        log_level='debug',
        respawn='true',
        params_file='/my.yaml',
    )
    assert (node.named['namespace'], node.named['name'], node.named['respawn']) == (
        'robot',
        'eyes',
        True,
    )
    assert node.named['arguments'] == ['--ros-args', '--log-level', 'debug']
    assert node.named['parameters'][0] == '/my.yaml'


def test_a_node_that_ended_is_started_again_after_the_time_that_a_model_may_take_to_load(
    entities: list[Any],
) -> None:
    (node,) = start(entities, respawn='true')
    assert node.named['respawn_delay'] == 10.0
    (node,) = start(entities, respawn='true', respawn_delay='45')
    assert node.named['respawn_delay'] == 45.0


def test_a_penguin_that_runs_is_not_started_again_unless_it_is_asked_for(
    entities: list[Any],
) -> None:
    (node,) = start(entities)
    assert node.named['respawn'] is False


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE'), ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE')],
)
def test_the_transport_profile_is_set_before_the_node_starts(
    entities: list[Any], monkeypatch: pytest.MonkeyPatch, distribution: str, variable: str
) -> None:
    monkeypatch.setenv('ROS_DISTRO', distribution)
    profile, node = start(entities, fastdds_profile='images')
    assert profile.values == (variable, '/share/penguin_ros/config/fastdds_images.xml')
    assert kind(node) == 'Node'
    assert start(entities, fastdds_profile='/my.xml')[0].values == (variable, '/my.xml')


def test_the_shipped_parameter_file_names_only_parameters_that_exist() -> None:
    parameters = yaml.safe_load((ROOT / 'config' / 'penguin.yaml').read_text())['/**'][
        'ros__parameters'
    ]
    cameras = parameters.pop('cameras')
    assert set(parameters.pop('camera', {})) <= set(cameras)
    names = {f'{section}.{key}' for section, values in parameters.items() for key in values}
    assert names <= set(settings(PenguinConfig()))
