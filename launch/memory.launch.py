# SPDX-License-Identifier: Apache-2.0
"""Starts one memory node beside penguin nodes that run already.

It starts again by itself when it ends: what it has stored is kept, and no penguin node needs it. An
argument that is left empty passes nothing, so that the parameter file or the node's own default
applies.
"""

from __future__ import annotations

from typing import Any, List  # noqa: UP035

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from penguin_ros.ros.process.launch_arguments import LaunchArguments, node_namespace

PACKAGE = 'penguin_ros'
Names = List[str]  # noqa: UP006  launch_ros compares with typing.List


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros memory.launch.py` starts; `-s` lists the arguments."""
    return LaunchDescription(
        [*memory_arguments(), *node_arguments(), OpaqueFunction(function=start_node)]
    )


def memory_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for what is remembered, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'nodes',
            default_value='',
            description='Penguin nodes to listen to, with commas between: penguin,/rear/penguin. '
            'Empty: those of params_file, else penguin.',
        ),
        DeclareLaunchArgument(
            'folder',
            default_value='',
            description='Folder of the store, which is made where there is none. Empty: that of '
            'params_file, else .local/share/penguin_ros/memory in the home folder.',
        ),
        DeclareLaunchArgument(
            'pictures',
            default_value='',
            description='true: keep a picture for each caption; they can show people. Empty: what '
            'params_file says, else false.',
        ),
        DeclareLaunchArgument(
            'base_frame',
            default_value='',
            description='Coordinate frame of the robot whose pose in `map` is stored, by /tf. '
            'Empty: that of params_file, else base_link.',
        ),
    ]


def node_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for any node, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of the node and its services.'
        ),
        DeclareLaunchArgument(
            'name',
            default_value='memory',
            description='Name of the node, first part of its ~/services.',
        ),
        DeclareLaunchArgument(
            'params_file', default_value='', description='YAML file of parameters.'
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='',
            description='true: take the time from /clock. Empty: what params_file or a parent '
            'launch file says, else false.',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='',
            description='Least severe messages that the node logs: debug, info, warn, error or '
            'fatal, or LOGGER:=LEVEL. Empty: info.',
        ),
        DeclareLaunchArgument(
            'respawn',
            default_value='true',
            description='false: do not start the node again when it ends by itself.',
        ),
    ]


def start_node(context: LaunchContext) -> list[Any]:
    """Returns the memory node, once the arguments have values."""
    arguments = LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))
    level = arguments.log_level('log_level')
    pushed = context.launch_configurations.get('ros_namespace', '')
    parameters = [*filter(None, [arguments.file('params_file'), node_parameters(arguments)])]
    return [
        Node(
            package=PACKAGE,
            executable='memory_node',
            name=arguments.text('name') or None,
            namespace=node_namespace(arguments.text('namespace'), pushed),
            parameters=parameters,
            output='screen',
            emulate_tty=True,
            respawn=bool(arguments.boolean('respawn')),
            respawn_delay=5.0,
            arguments=['--ros-args', *(['--log-level', level] if level else [])],
        )
    ]


def node_parameters(arguments: LaunchArguments) -> dict[str, ParameterValue]:
    """Returns the parameters that were given as arguments; no others."""
    parameters: dict[str, ParameterValue] = {}
    for name, parameter in (('use_sim_time', 'use_sim_time'), ('pictures', 'picture.enabled')):
        is_wanted = arguments.boolean(name)
        if is_wanted is not None:
            parameters[parameter] = ParameterValue(is_wanted, value_type=bool)
    if arguments.text('folder'):
        parameters['folder'] = ParameterValue(arguments.path('folder'), value_type=str)
    if arguments.text('base_frame'):
        frame = ParameterValue(arguments.text('base_frame'), value_type=str)
        parameters['pose.base_frame'] = frame
    nodes = [name.strip() for name in arguments.text('nodes').split(',') if name.strip()]
    if nodes:
        parameters['nodes'] = ParameterValue(nodes, value_type=Names)
    return parameters
