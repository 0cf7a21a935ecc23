# SPDX-License-Identifier: Apache-2.0
"""Starts one penguin node, whose parameters come from a file and from arguments.

An argument that is left empty passes nothing, so that the parameter file, or else the node's own
default in config.py, applies.
"""

from __future__ import annotations

from typing import Any, List  # noqa: UP035

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from penguin_ros.ros.process.image_profile import profile_variables

PACKAGE = 'penguin_ros'
Names = List[str]  # noqa: UP006  launch_ros compares with typing.List


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros penguin.launch.py` starts; `-s` lists the arguments."""
    return LaunchDescription(
        [*process_arguments(), *penguin_arguments(), OpaqueFunction(function=start_node)]
    )


def process_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for any node, each with its default and its meaning."""
    share = FindPackageShare(PACKAGE)
    return [
        DeclareLaunchArgument(
            'namespace',
            default_value='',
            description='Namespace of the node and its relative topics.',
        ),
        DeclareLaunchArgument(
            'name',
            default_value='penguin',
            description='Name of the node, first part of its ~/topics.',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([share, 'config', 'penguin.yaml']),
            description='YAML file of parameters.',
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='false',
            choices=['true', 'false'],
            description='Take the time from /clock (simulation, rosbag2) instead of the system.',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Least severe messages that the node logs.',
        ),
    ]


def penguin_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for cameras, the model and transport, each with default and meaning."""
    return [
        DeclareLaunchArgument(
            'cameras',
            default_value='',
            description='Cameras, as name or name=topic, with commas between: '
            'front=/front/image_raw,rear=/rear/image_raw. Empty: those of params_file.',
        ),
        DeclareLaunchArgument(
            'bundle',
            default_value='',
            description='Folder of a built bundle to run. Takes precedence '
            'over checkpoint. Empty: that of params_file.',
        ),
        DeclareLaunchArgument(
            'checkpoint',
            default_value='',
            description='Folder or hub id of a published checkpoint to run. '
            'Empty: that of params_file.',
        ),
        DeclareLaunchArgument(
            'fastdds_profile',
            default_value='',
            description='Fast DDS profile (XML) for the node; `images` '
            'takes the one for large raw images of this package. Camera drivers need it even more.',
        ),
        DeclareLaunchArgument(
            'respawn',
            default_value='false',
            choices=['true', 'false'],
            description='Start the node again when it ends by itself.',
        ),
        DeclareLaunchArgument(
            'respawn_delay',
            default_value='10.0',
            description='Seconds until it is started again. Give about as many as the model takes '
            'to load: a node that dies while it loads, of too little memory say, would otherwise '
            'keep the machine loading.',
        ),
    ]


def start_node(context: LaunchContext) -> list[Any]:
    """Returns the actions, once the arguments have values."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context)).strip()

    parameters: dict[str, Any] = {
        'use_sim_time': ParameterValue(value('use_sim_time') == 'true', value_type=bool)
    }
    for argument in ('bundle', 'checkpoint'):
        if value(argument):
            parameters[f'model.{argument}'] = ParameterValue(value(argument), value_type=str)
    parameters.update(camera_parameters(value('cameras')))
    node = Node(
        package=PACKAGE,
        executable='penguin_node',
        name=value('name'),
        namespace=value('namespace'),
        parameters=[value('params_file'), parameters],
        output='screen',
        emulate_tty=True,
        respawn=value('respawn') == 'true',
        respawn_delay=float(value('respawn_delay')),
        arguments=['--ros-args', '--log-level', value('log_level')],
    )
    return [*profile_actions(context, value('fastdds_profile')), node]


def camera_parameters(cameras: str) -> dict[str, ParameterValue]:
    """Returns cameras written as `front=/front/image_raw,rear` as parameters; none for ''."""
    pairs = [entry.strip().partition('=') for entry in cameras.split(',') if entry.strip()]
    if not pairs:
        return {}
    parameters = {
        'cameras': ParameterValue([name.strip() for name, _, _ in pairs], value_type=Names)
    }
    for name, _, topic in pairs:
        if topic.strip():
            parameters[f'camera.{name.strip()}.topic'] = ParameterValue(
                topic.strip(), value_type=str
            )
    return parameters


def profile_actions(context: LaunchContext, profile: str) -> list[SetEnvironmentVariable]:
    """Returns the actions that set the variables for a profile.

    Fast DDS reads them when the process starts; other middlewares ignore it.
    """
    if not profile:
        return []
    if profile == 'images':
        profile = PathJoinSubstitution(
            [FindPackageShare(PACKAGE), 'config', 'fastdds_images.xml']
        ).perform(context)
    return [SetEnvironmentVariable(variable, profile) for variable in profile_variables()]
