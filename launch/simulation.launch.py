# SPDX-License-Identifier: Apache-2.0
"""Starts the simulated camera and one penguin node that watches it, both in the world's time.

The parameters for simulated worlds are in config/simulation.yaml.
"""

from __future__ import annotations

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = 'penguin_ros'
PASSED_ON = ('namespace', 'params_file', 'bundle', 'checkpoint')
"""Arguments that are passed on to penguin.launch.py as they are."""


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros simulation.launch.py` starts; `-s` lists the
    arguments.
    """
    return LaunchDescription(
        [
            *node_arguments(),
            *camera_arguments(),
            OpaqueFunction(function=start_camera),
            penguin_node(),
        ]
    )


def node_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments that the penguin node gets, each with its default and its meaning."""
    parameters = PathJoinSubstitution([FindPackageShare(PACKAGE), 'config', 'simulation.yaml'])
    return [
        DeclareLaunchArgument(
            'namespace',
            default_value='',
            description='Namespace of both nodes and of their relative topics.',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=parameters,
            description='YAML file of parameters of both nodes.',
        ),
        DeclareLaunchArgument(
            'bundle',
            default_value='',
            description='Folder of a built bundle to run, for example that of '
            'penguin build engines/penguin_sim --out DIR.',
        ),
        DeclareLaunchArgument(
            'checkpoint',
            default_value='',
            description='Folder or hub id of a published checkpoint to run instead of a bundle.',
        ),
    ]


def camera_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments of the simulated camera, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'scene',
            default_value='',
            description='JSON file of a scene to show. Empty: random scenes.',
        ),
        DeclareLaunchArgument(
            'seed',
            default_value='1',
            description='Seed of the first random scene; the next ones follow it.',
        ),
        DeclareLaunchArgument(
            'level',
            default_value='3',
            choices=['1', '2', '3'],
            description='Kind of random scenes: 1 stands still, 2 moves, 3 is as varied as can be.',
        ),
        DeclareLaunchArgument(
            'real_time_factor',
            default_value='1.0',
            description='Simulated seconds per real second.',
        ),
    ]


def start_camera(context: LaunchContext) -> list[Any]:
    """Returns the simulated camera, once the arguments have values."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context)).strip()

    parameters = {
        'scene': ParameterValue(value('scene'), value_type=str),
        'seed': ParameterValue(int(value('seed')), value_type=int),
        'level': ParameterValue(int(value('level')), value_type=int),
        'real_time_factor': ParameterValue(float(value('real_time_factor')), value_type=float),
    }
    return [
        Node(
            package=PACKAGE,
            executable='sim_camera',
            name='sim_camera',
            namespace=value('namespace'),
            parameters=[value('params_file'), parameters],
            output='screen',
            emulate_tty=True,
        )
    ]


def penguin_node() -> IncludeLaunchDescription:
    """Returns the penguin node, by its own launch file."""
    file = PathJoinSubstitution([FindPackageShare(PACKAGE), 'launch', 'penguin.launch.py'])
    passed = [(name, LaunchConfiguration(name)) for name in PASSED_ON]
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file), launch_arguments=[*passed, ('use_sim_time', 'true')]
    )
