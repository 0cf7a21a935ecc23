# SPDX-License-Identifier: Apache-2.0
"""What tests of launch files ask of descriptions that are made of stand-ins for `launch`.

How ros2 launch itself treats the result is not covered by them.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import recorded_launch
from recorded_launch import LaunchContext

ROOT = Path(__file__).resolve().parents[2]


def described(monkeypatch: pytest.MonkeyPatch, file: str) -> list[Any]:
    """Returns what launch/`file` describes, made of stand-ins that last as long as the test."""
    for name in recorded_launch.USERS:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        del sys.modules[name]  # the end of the test forgets it too
    for name, module in recorded_launch.stand_in_modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return list(recorded_launch.described(file).values[0])


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
