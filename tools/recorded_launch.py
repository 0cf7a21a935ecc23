# SPDX-License-Identifier: Apache-2.0
"""Runs a launch file on stand-ins for `launch` and `launch_ros`, which come with an installed ROS 2
only: they record what they were given, and start nothing.

What a file declares is then told from what it does, and not from how it is written.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
USERS = ('penguin_ros.ros.process.node_launch', 'penguin_ros.demo.world_launch')
"""Modules that import `launch` themselves, and must not outlive its stand-ins."""


@dataclass(frozen=True)
class LaunchArgument:
    """An argument of a launch file; of a default that is a path in a package, its parts below the
    package's share folder.
    """

    name: str
    default: str
    meaning: str


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


class LaunchDescription(Recorded):
    """A description whose arguments are told as those of the real one."""

    def get_launch_arguments(self) -> list[Any]:
        return [each for each in self.values[0] if type(each).__name__ == 'DeclareLaunchArgument']


STAND_INS: dict[str, dict[str, type]] = {
    'launch': {'LaunchDescription': LaunchDescription, 'LaunchContext': LaunchContext},
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


def stand_in_modules() -> dict[str, types.ModuleType]:
    """Returns modules, by their names, that have the stand-ins."""
    modules = {name: types.ModuleType(name) for name in STAND_INS}
    for name, module in modules.items():
        vars(module).update(STAND_INS[name])
    return modules


@contextmanager
def stand_ins() -> Iterator[None]:
    """Puts the stand-ins in the place of `launch` and `launch_ros`, as long as it is entered."""
    names = (*STAND_INS, *USERS)
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(stand_in_modules())
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def described(file: str) -> LaunchDescription:
    """Returns what launch/`file` describes, made of the stand-ins, which must be in place."""
    spec = importlib.util.spec_from_file_location(file.replace('.', '_'), ROOT / 'launch' / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description: LaunchDescription = module.generate_launch_description()
    return description


def launch_arguments(file: str) -> list[LaunchArgument]:
    """Returns the arguments that launch/`file` declares, in their order."""
    with stand_ins():
        return [
            LaunchArgument(
                declared.values[0],
                _default(declared.named['default_value']),
                declared.named['description'],
            )
            for declared in described(file).get_launch_arguments()
        ]


def _default(value: Any) -> str:
    """Returns the text of a default, of a path the parts that are written in the file."""
    if isinstance(value, str):
        return value
    return '/'.join(part for part in value.values[0] if isinstance(part, str))
