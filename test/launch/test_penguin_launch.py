# SPDX-License-Identifier: Apache-2.0
"""launch/penguin.launch.py: which arguments it declares, and what they become on the node's command.

`launch` and `launch_ros` come with an installed ROS 2 only. Where they are absent, small classes that record what they were
given stand in for them; how ros2 launch itself treats the result is then not covered.
"""
from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from penguin_ros.config import settings

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = {'namespace', 'name', 'params_file', 'use_sim_time', 'log_level', 'cameras', 'bundle', 'checkpoint',
             'fastdds_profile', 'respawn'}


class Recorded:
    """What a launch class was constructed with."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.values, self.named = values, named


class LaunchConfiguration(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return context[self.values[0]]


class FindPackageShare(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return f'/share/{self.values[0]}'


class PathJoinSubstitution(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return '/'.join(part if isinstance(part, str) else part.perform(context) for part in self.values[0])


class Action(Recorded):
    """DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Node."""


STAND_INS: dict[str, dict[str, type]] = {
    'launch': {'LaunchDescription': Recorded, 'LaunchContext': dict},
    'launch.actions': {name: type(name, (Action,), {}) for name in
                       ('DeclareLaunchArgument', 'OpaqueFunction', 'SetEnvironmentVariable')},
    'launch.substitutions': {'LaunchConfiguration': LaunchConfiguration, 'PathJoinSubstitution': PathJoinSubstitution},
    'launch_ros': {},
    'launch_ros.actions': {'Node': type('Node', (Action,), {})},
    'launch_ros.parameter_descriptions': {'ParameterValue': type('ParameterValue', (Recorded,), {})},
    'launch_ros.substitutions': {'FindPackageShare': FindPackageShare},
}


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    for name, members in STAND_INS.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location('penguin_launch', ROOT / 'launch' / 'penguin.launch.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.generate_launch_description().values[0])


def kind(entity: Any) -> str:
    return type(entity).__name__


def start(entities: list[Any], **given: str) -> list[Any]:
    """The actions for these arguments, the others at their defaults."""
    context = {}
    for entity in entities:
        if kind(entity) == 'DeclareLaunchArgument':
            default = entity.named['default_value']
            context[entity.values[0]] = default if isinstance(default, str) else default.perform(context)
    context.update(given)
    return list(entities[-1].named['function'](context))


def node_parameters(actions: list[Any]) -> dict[str, Any]:
    """The parameters that are passed besides the file."""
    return {name: value.values[0] for name, value in actions[-1].named['parameters'][1].items()}


def test_every_argument_is_declared_with_a_default_and_a_description(entities: list[Any]) -> None:
    declared = {entity.values[0]: entity.named for entity in entities if kind(entity) == 'DeclareLaunchArgument'}
    assert set(declared) == ARGUMENTS
    for named in declared.values():
        assert 'default_value' in named
        assert len(named['description']) > 20


def test_without_arguments_the_parameter_file_alone_decides(entities: list[Any]) -> None:
    node, = start(entities)
    assert (node.named['package'], node.named['executable']) == ('penguin_ros', 'penguin_node')
    assert node.named['parameters'][0] == '/share/penguin_ros/config/penguin.yaml'
    assert node_parameters([node]) == {'use_sim_time': False}


def test_model_and_time_become_parameters_that_the_node_has(entities: list[Any]) -> None:
    parameters = node_parameters(start(entities, checkpoint='/models/1', bundle='engines/a', use_sim_time='true'))
    assert parameters == {'use_sim_time': True, 'model.checkpoint': '/models/1', 'model.bundle': 'engines/a'}
    assert {'model.checkpoint', 'model.bundle'} <= set(settings())


def test_cameras_are_given_with_or_without_topics(entities: list[Any]) -> None:
    parameters = node_parameters(start(entities, cameras=' front = /front/image_raw , rear,'))
    assert parameters == {'use_sim_time': False, 'cameras': ['front', 'rear'], 'camera.front.topic': '/front/image_raw'}


def test_namespace_name_and_log_level_reach_the_node(entities: list[Any]) -> None:
    node, = start(entities, namespace='robot', name='eyes', log_level='debug', respawn='true', params_file='/my.yaml')
    assert (node.named['namespace'], node.named['name'], node.named['respawn']) == ('robot', 'eyes', True)
    assert node.named['arguments'] == ['--ros-args', '--log-level', 'debug']
    assert node.named['parameters'][0] == '/my.yaml'


@pytest.mark.parametrize(('distribution', 'variable'), [('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
                                                        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE')])
def test_the_transport_profile_is_set_before_the_node_starts(entities: list[Any], monkeypatch: pytest.MonkeyPatch,
                                                             distribution: str, variable: str) -> None:
    monkeypatch.setenv('ROS_DISTRO', distribution)
    profile, node = start(entities, fastdds_profile='images')
    assert profile.values == (variable, '/share/penguin_ros/config/fastdds_images.xml')
    assert kind(node) == 'Node'
    assert start(entities, fastdds_profile='/my.xml')[0].values == (variable, '/my.xml')


def test_the_shipped_parameter_file_names_only_parameters_that_exist() -> None:
    parameters = yaml.safe_load((ROOT / 'config' / 'penguin.yaml').read_text())['/**']['ros__parameters']
    cameras = parameters.pop('cameras')
    assert set(parameters.pop('camera')) <= set(cameras)
    names = {f'{section}.{key}' for section, values in parameters.items() for key in values}
    assert names <= set(settings())
