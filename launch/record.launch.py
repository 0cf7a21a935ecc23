# SPDX-License-Identifier: Apache-2.0
"""Records a penguin node and its cameras into an MCAP file that Foxglove and rosbag2 open, with the
captions on the pictures, until it is stopped.

An argument that is left empty passes nothing, so that the parameter file or the node's own default
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
    """Returns what `ros2 launch penguin_ros record.launch.py` starts; `-s` lists the arguments."""
    return LaunchDescription(
        [*record_arguments(), *node_arguments(), OpaqueFunction(function=start_node)]
    )


def record_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for what is recorded, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'node',
            default_value='',
            description='Penguin node to record. Empty: that of params_file, else penguin.',
        ),
        DeclareLaunchArgument(
            'folder',
            default_value='',
            description='Folder of the recording, a new one. Empty: one named after the time.',
        ),
        DeclareLaunchArgument(
            'pictures',
            default_value='',
            description='same: the topics that the penguin node takes; compressed: those beside '
            'them; none. Empty: what params_file says, else same.',
        ),
        DeclareLaunchArgument(
            'topics',
            default_value='',
            description='Full names of topics to record besides, with commas between. Empty: those '
            'of params_file, else /tf,/tf_static,/diagnostics.',
        ),
    ]


def node_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for any node, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'namespace',
            default_value='',
            description='Namespace of the node and relative names.',
        ),
        DeclareLaunchArgument(
            'name',
            default_value='recorder',
            description='Name of the node.',
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
    ]


def start_node(context: LaunchContext) -> list[Any]:
    """Returns the record node, once the arguments have values."""
    arguments = LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))
    level = arguments.log_level('log_level')
    pushed = context.launch_configurations.get('ros_namespace', '')
    parameters = [*filter(None, [arguments.file('params_file'), node_parameters(arguments)])]
    return [
        Node(
            package=PACKAGE,
            executable='record_node',
            name=arguments.text('name') or None,
            namespace=node_namespace(arguments.text('namespace'), pushed),
            parameters=parameters,
            output='screen',
            emulate_tty=True,
            arguments=['--ros-args', *(['--log-level', level] if level else [])],
        )
    ]


def node_parameters(arguments: LaunchArguments) -> dict[str, ParameterValue]:
    """Returns the parameters that were given as arguments; no others."""
    parameters: dict[str, ParameterValue] = {}
    is_simulated = arguments.boolean('use_sim_time')
    if is_simulated is not None:
        parameters['use_sim_time'] = ParameterValue(is_simulated, value_type=bool)
    for name, parameter in (('node', 'node'), ('pictures', 'picture.transport')):
        if arguments.text(name):
            parameters[parameter] = ParameterValue(arguments.text(name), value_type=str)
    if arguments.text('folder'):
        parameters['folder'] = ParameterValue(arguments.path('folder'), value_type=str)
    topics = [name.strip() for name in arguments.text('topics').split(',') if name.strip()]
    if topics:
        parameters['topics'] = ParameterValue(topics, value_type=Names)
    return parameters
