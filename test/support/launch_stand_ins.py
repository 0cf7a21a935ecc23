# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for `launch` and `launch_ros`, which come with an installed ROS 2 only: they record
what they were given.

How ros2 launch itself treats the result is not covered by them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Recorded:
    """What a launch class was constructed with."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.values = values
        self.named = named


class LaunchConfiguration(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return context[self.values[0]]


class FindPackageShare(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return f'/share/{self.values[0]}'


class PathJoinSubstitution(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return '/'.join(
            part if isinstance(part, str) else part.perform(context) for part in self.values[0]
        )


class Action(Recorded):
    """DeclareLaunchArgument, OpaqueFunction, SetLaunchConfiguration, IncludeLaunchDescription,
    LogInfo, Node.
    """


class LaunchContext(dict[str, Any]):
    """The arguments' values by name, to which parents add `ros_namespace` and `global_params`."""

    @property
    def launch_configurations(self) -> dict[str, Any]:
        return self


STAND_INS: dict[str, dict[str, type]] = {
    'launch': {'LaunchDescription': Recorded, 'LaunchContext': LaunchContext},
    'launch.actions': {
        name: type(name, (Action,), {})
        for name in (
            'DeclareLaunchArgument',
            'OpaqueFunction',
            'SetLaunchConfiguration',
            'IncludeLaunchDescription',
            'LogInfo',
        )
    },
    'launch.launch_description_sources': {
        'PythonLaunchDescriptionSource': type('PythonLaunchDescriptionSource', (Recorded,), {})
    },
    'launch.substitutions': {
        'LaunchConfiguration': LaunchConfiguration,
        'PathJoinSubstitution': PathJoinSubstitution,
    },
    'launch_ros': {},
    'launch_ros.actions': {'Node': type('Node', (Action,), {})},
    'launch_ros.parameter_descriptions': {
        'ParameterValue': type('ParameterValue', (Recorded,), {})
    },
    'launch_ros.substitutions': {'FindPackageShare': FindPackageShare},
}


def described(monkeypatch: pytest.MonkeyPatch, file: str) -> list[Any]:
    """Returns what launch/`file` describes, made of the stand-ins."""
    for name, members in STAND_INS.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location(file.replace('.', '_'), ROOT / 'launch' / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.generate_launch_description().values[0])


def kind(entity: Any) -> str:
    return type(entity).__name__


def arguments_of(entities: list[Any], **given: Any) -> LaunchContext:
    """Returns every argument's value: as given, else its default; and what a parent sets."""
    context = LaunchContext()
    for entity in entities:
        if kind(entity) == 'DeclareLaunchArgument':
            default = entity.named['default_value']
            context[entity.values[0]] = (
                default if isinstance(default, str) else default.perform(context)
            )
    assert set(given) <= {*context, 'ros_namespace', 'global_params'}
    context.update(given)
    return context


def included_arguments(entities: list[Any], **given: Any) -> dict[str, str]:
    """Returns the arguments that reach penguin.launch.py, which the last entity includes."""
    include = entities[-1]
    assert kind(include) == 'IncludeLaunchDescription'
    assert include.values[0].values[0].perform({}) == '/share/penguin_ros/launch/penguin.launch.py'
    context = arguments_of(entities, **given)
    (complete,) = [
        entity.named['function']
        for entity in entities
        if kind(entity) == 'OpaqueFunction'
        and entity.named['function'].__name__ == 'complete_arguments'
    ]
    for action in complete(context):
        assert kind(action) == 'SetLaunchConfiguration'
        context[action.values[0]] = action.values[1]
    return {name: value.perform(context) for name, value in include.named['launch_arguments']}


def assert_node_is_included(entities: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last entity starts the penguin node by its own launch file, in simulated time, and passes
    only arguments on that this file has.
    """
    file = str(ROOT / 'config' / 'penguin.yaml')
    passed = included_arguments(
        entities, bundle='/engines/sim', namespace='robot', params_file=file
    )
    assert passed == {
        'namespace': 'robot',
        'params_file': file,
        'bundle': '/engines/sim',
        'checkpoint': '',
        'use_sim_time': 'true',
    }
    others = described(monkeypatch, 'penguin.launch.py')
    assert set(passed) <= {
        entity.values[0] for entity in others if kind(entity) == 'DeclareLaunchArgument'
    }


def assert_model_is_completed(entities: list[Any], folder: Path) -> None:
    """The model that is included runs where nobody names one: no argument, no file, no parent."""
    from penguin_ros.shipped import shipped_model

    if shipped_model() is None:
        pytest.skip('engines/penguin_sim has no weights here')
    ours = str(ROOT / 'config' / 'simulation.yaml')
    alone = included_arguments(entities, params_file=ours)
    assert bool(alone['bundle']) != bool(alone['checkpoint']), 'one model'
    assert 'penguin_sim' in alone['bundle'] + alone['checkpoint']
    assert alone['use_sim_time'] == '', 'the file says it'
    theirs = folder / 'theirs.yaml'
    theirs.write_text('/robot/penguin: {ros__parameters: {model: {bundle: /b}}}')
    for given in (
        {'bundle': '/b'},
        {'checkpoint': '/c'},
        {'params_file': str(theirs)},
        {'global_params': [('model.checkpoint', '/c')]},
        {'global_params': [str(theirs)]},
    ):
        named = included_arguments(entities, **{'params_file': ours, **given})
        assert named['bundle'] == given.get('bundle', '')
        assert named['checkpoint'] == given.get('checkpoint', '')
