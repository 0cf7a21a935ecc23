# SPDX-License-Identifier: Apache-2.0
"""Starts one overlay node beside a penguin node: pictures with captions and rule states drawn on
them, for RViz, Foxglove and rqt; nothing is drawn while nobody looks.

It starts again by itself when it ends: no penguin node needs it. An argument that is left empty
passes nothing, so that the parameter file or the node's own default applies.
"""

from __future__ import annotations

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from penguin_ros.ros.process.launch_arguments import LaunchArguments, node_namespace

PACKAGE = 'penguin_ros'


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros overlay.launch.py` starts; `-s` lists the arguments."""
    return LaunchDescription(
        [*overlay_arguments(), *node_arguments(), OpaqueFunction(function=start_node)]
    )


def overlay_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for what is drawn, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'node',
            default_value='',
            description='Penguin node to listen to. Empty: that of params_file, else penguin.',
        ),
        DeclareLaunchArgument(
            'rules',
            default_value='',
            description='Which rules are named: events, all or none. Empty: what params_file says, '
            'else events.',
        ),
    ]


def node_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for any node, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of the node and its topics.'
        ),
        DeclareLaunchArgument(
            'name',
            default_value='overlay',
            description='Name of the node, first part of its ~/topics.',
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
    """Returns the overlay node, once the arguments have values."""
    arguments = LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))
    level = arguments.log_level('log_level')
    pushed = context.launch_configurations.get('ros_namespace', '')
    parameters = [*filter(None, [arguments.file('params_file'), node_parameters(arguments)])]
    return [
        Node(
            package=PACKAGE,
            executable='overlay_node',
            name=arguments.text('name') or None,
            namespace=node_namespace(arguments.text('namespace'), pushed),
            parameters=parameters,
            output='screen',
            emulate_tty=True,
            respawn=bool(arguments.boolean('respawn')),
            respawn_delay=2.0,
            arguments=['--ros-args', *(['--log-level', level] if level else [])],
        )
    ]


def node_parameters(arguments: LaunchArguments) -> dict[str, ParameterValue]:
    """Returns the parameters that were given as arguments; no others."""
    parameters: dict[str, ParameterValue] = {}
    is_simulated = arguments.boolean('use_sim_time')
    if is_simulated is not None:
        parameters['use_sim_time'] = ParameterValue(is_simulated, value_type=bool)
    for name, parameter in (('node', 'node'), ('rules', 'rules.show')):
        if arguments.text(name):
            parameters[parameter] = ParameterValue(arguments.text(name), value_type=str)
    return parameters
