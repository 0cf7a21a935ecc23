# SPDX-License-Identifier: Apache-2.0
"""Starts the simulated camera and one penguin node that watches it, both in the world's time.

Without arguments the node runs the small model that is included. The parameters for simulated
worlds are in config/simulation.yaml; an argument that is left empty changes none of them.
"""

from __future__ import annotations

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from penguin_ros.demo.included_model import completed_arguments
from penguin_ros.ros.process.launch_arguments import LaunchArguments, node_namespace

PACKAGE = 'penguin_ros'
PASSED_ON = ('namespace', 'params_file', 'bundle', 'checkpoint', 'use_sim_time')
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
            OpaqueFunction(function=complete_arguments),
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
            description='Folder of a built bundle to run. Empty: what params_file names, else the '
            'small model of the simulated world that is included.',
        ),
        DeclareLaunchArgument(
            'checkpoint',
            default_value='',
            description='Folder or hub id of a published checkpoint to run instead of a bundle.',
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='',
            description="false: the penguin node takes the system's time (clock:=wall of the "
            'camera). Empty: what params_file says, else true.',
        ),
    ]


def camera_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments of the simulated camera, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'scene',
            default_value='',
            description='JSON file of a scene to show. Empty: what params_file says, else random '
            'scenes.',
        ),
        DeclareLaunchArgument(
            'seed',
            default_value='',
            description='Seed of the first random scene; the next ones follow it. '
            'Empty: that of params_file, else 1.',
        ),
        DeclareLaunchArgument(
            'level',
            default_value='',
            description='Kind of random scenes: 1 stands still, 2 moves, 3 is as varied as can be. '
            'Empty: that of params_file, else 3.',
        ),
        DeclareLaunchArgument(
            'real_time_factor',
            default_value='',
            description='Simulated seconds per real second. Empty: that of params_file, else 1.',
        ),
    ]


def start_camera(context: LaunchContext) -> list[Any]:
    """Returns the simulated camera, once the arguments have values."""
    arguments = LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))
    pushed = context.launch_configurations.get('ros_namespace', '')
    given = {
        'scene': arguments.file('scene') or None,
        'seed': arguments.integer('seed'),
        'level': arguments.integer('level', choices=(1, 2, 3)),
        'real_time_factor': arguments.number('real_time_factor'),
    }
    parameters = {
        name: ParameterValue(value, value_type=type(value))
        for name, value in given.items()
        if value is not None
    }
    return [
        Node(
            package=PACKAGE,
            executable='sim_camera',
            name='sim_camera',
            namespace=node_namespace(arguments.text('namespace'), pushed),
            parameters=[*filter(None, [arguments.file('params_file'), parameters])],
            output='screen',
            emulate_tty=True,
        )
    ]


def complete_arguments(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Returns what sets the arguments of the penguin node that nobody has given: the included
    model, and the world's time.
    """
    arguments = LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))
    of_parents = context.launch_configurations.get('global_params', [])
    values = completed_arguments(arguments, of_parents)
    return [SetLaunchConfiguration(name, value) for name, value in values.items()]


def penguin_node() -> IncludeLaunchDescription:
    """Returns the penguin node, by its own launch file."""
    file = PathJoinSubstitution([FindPackageShare(PACKAGE), 'launch', 'penguin.launch.py'])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in PASSED_ON],
    )
