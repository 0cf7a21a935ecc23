# SPDX-License-Identifier: Apache-2.0
"""What the launch files of our nodes share: the arguments that any node has, and its action.

An argument that is left empty passes nothing, so that the parameter file, a parent launch file, or
else the node's own default applies. Only launch files import this file: it needs `launch` and
`launch_ros`, which the ROS 2 wheels lack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import List  # noqa: UP035

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from penguin_ros.ros.process.launch_arguments import LaunchArguments, node_namespace
from penguin_ros.settings import Value

PACKAGE = 'penguin_ros'
Names = List[str]  # noqa: UP006  launch_ros compares with typing.List
Parameters = Mapping[str, Value | list[str]]


@dataclass(frozen=True)
class Respawn:
    """Whether a node that ended by itself is started again, and after how many seconds."""

    is_wanted: bool = False
    delay_s: float | None = None


NEVER_AGAIN = Respawn()


@dataclass(frozen=True)
class NodeLaunch:
    """A launch file that starts one node.

    `interfaces` is what the name and the namespace stand before; `own_arguments` are those of this
    node alone, with their meanings, and `parameters` returns what was given in them. Without
    `respawn_delay_s` the node is never started again.
    """

    executable: str
    name: str
    interfaces: str
    own_arguments: Mapping[str, str]
    parameters: Callable[[LaunchArguments], Parameters]
    respawn_delay_s: float | None = None

    def description(self) -> LaunchDescription:
        """Returns what `ros2 launch` starts; its `-s` lists the arguments."""
        respawn = [respawn_argument('node')] if self.respawn_delay_s is not None else []
        return LaunchDescription(
            [
                *optional_arguments(self.own_arguments),
                *node_arguments(self.name, self.interfaces),
                *respawn,
                OpaqueFunction(function=self.start),
            ]
        )

    def start(self, context: LaunchContext) -> list[Node]:
        """Returns the node, once the arguments have values."""
        arguments = arguments_in(context)
        respawn = NEVER_AGAIN
        if self.respawn_delay_s is not None:
            respawn = Respawn(bool(arguments.boolean('respawn')), self.respawn_delay_s)
        return [node_action(context, self.executable, self.parameters(arguments), respawn)]


def arguments_in(context: LaunchContext) -> LaunchArguments:
    """Returns the values of the launch file's arguments."""
    return LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))


def namespace_in(context: LaunchContext) -> str:
    """Returns the namespace that the argument gives a node, beside what parents have pushed."""
    pushed = context.launch_configurations.get('ros_namespace', '')
    return node_namespace(arguments_in(context).text('namespace'), pushed)


def optional_arguments(meanings: Mapping[str, str]) -> list[DeclareLaunchArgument]:
    """Returns arguments that are empty unless they are given."""
    return [
        DeclareLaunchArgument(name, default_value='', description=meaning)
        for name, meaning in meanings.items()
    ]


def node_arguments(
    name: str, interfaces: str, params_file: str = 'YAML file of parameters.'
) -> list[DeclareLaunchArgument]:
    """Returns the arguments for any node, each with its default and its meaning."""
    return [
        *optional_arguments({'namespace': f'Namespace of the node and its relative {interfaces}.'}),
        DeclareLaunchArgument(
            'name',
            default_value=name,
            description=f'Name of the node, first part of its ~/{interfaces}.',
        ),
        *optional_arguments(
            {
                'params_file': f"{params_file} Empty: the node's defaults.",
                'use_sim_time': 'true: take the time from /clock (simulation, rosbag2) instead of '
                'the system. Empty: what params_file or a parent launch file says, else false.',
                'log_level': 'Least severe messages that the node logs: debug, info, warn, error '
                'or fatal, or LOGGER:=LEVEL. Empty: info.',
            }
        ),
    ]


def respawn_argument(what: str) -> DeclareLaunchArgument:
    """Returns the argument of what comes back by itself, since no other node needs it."""
    return DeclareLaunchArgument(
        'respawn',
        default_value='true',
        description=f'false: do not start the {what} again when it ends by itself.',
    )


def node_action(
    context: LaunchContext,
    executable: str,
    parameters: Parameters,
    respawn: Respawn = NEVER_AGAIN,
    environment: Mapping[str, str] | None = None,
) -> Node:
    """Returns the action of a node that has the arguments of `node_arguments`.

    `parameters` are those that were given as arguments, and take precedence over params_file.
    """
    arguments = arguments_in(context)
    level = arguments.log_level('log_level')
    given = parameter_values(parameters)
    return Node(
        package=PACKAGE,
        executable=executable,
        name=arguments.text('name') or None,
        namespace=namespace_in(context),
        parameters=[*filter(None, [arguments.file('params_file'), given])],
        output='screen',
        emulate_tty=True,
        respawn=respawn.is_wanted,
        respawn_delay=respawn.delay_s,
        additional_env=dict(environment or {}),
        arguments=['--ros-args', *(['--log-level', level] if level else [])],
    )


def parameter_values(parameters: Parameters) -> dict[str, ParameterValue]:
    """Returns the parameters as `launch_ros` passes them with the types that they have here."""
    return {
        name: ParameterValue(value, value_type=Names if isinstance(value, list) else type(value))
        for name, value in parameters.items()
    }
