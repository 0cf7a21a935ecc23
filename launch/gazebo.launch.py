# SPDX-License-Identifier: Apache-2.0
"""Starts Gazebo Sim with a world, the bridge to ROS 2 and one penguin node that watches the world's
camera, in the world's time. Without arguments the node runs the small model that is included.

It needs ros_gz_sim and ros_gz_bridge (apt: ros-$ROS_DISTRO-ros-gz). The topics are in
config/gazebo_bridge.yaml, the node's parameters for simulated worlds in config/simulation.yaml.
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
    """Returns what `ros2 launch penguin_ros gazebo.launch.py` starts; `-s` lists the arguments."""
    return LaunchDescription(
        [
            *node_arguments(),
            *world_arguments(),
            OpaqueFunction(function=start_world),
            OpaqueFunction(function=complete_arguments),
            penguin_node(),
        ]
    )


def node_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments that the penguin node gets, each with its default and its meaning."""
    share = FindPackageShare(PACKAGE)
    return [
        DeclareLaunchArgument(
            'namespace',
            default_value='',
            description='Namespace of the node, the bridge and their relative topics.',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([share, 'config', 'simulation.yaml']),
            description="YAML file of the node's parameters.",
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
            description="false: the penguin node takes the system's time instead of the world's. "
            'Empty: what params_file says, else true.',
        ),
    ]


def world_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments of Gazebo and of what is shown, with their defaults and meanings."""
    share = FindPackageShare(PACKAGE)
    return [
        DeclareLaunchArgument(
            'world',
            default_value=PathJoinSubstitution([share, 'worlds', 'penguin_demo.sdf']),
            description='SDF file of the world.',
        ),
        DeclareLaunchArgument(
            'bridge_file',
            default_value=PathJoinSubstitution([share, 'config', 'gazebo_bridge.yaml']),
            description='YAML file of the topics to bridge.',
        ),
        DeclareLaunchArgument(
            'headless',
            default_value='false',
            description='true: only the server, without a window; it draws the images through EGL.',
        ),
        DeclareLaunchArgument(
            'rviz',
            default_value='false',
            description="true: start rviz2 too, with the camera's image.",
        ),
    ]


def start_world(context: LaunchContext) -> list[Any]:
    """Returns Gazebo, the bridge and, when asked for, rviz2, once the arguments have values."""
    arguments = LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))
    pushed = context.launch_configurations.get('ros_namespace', '')
    namespace = node_namespace(arguments.text('namespace'), pushed)

    def path(*parts: str) -> PathJoinSubstitution:
        return PathJoinSubstitution([FindPackageShare(parts[0]), *parts[1:]])

    how = '-r -s --headless-rendering' if arguments.boolean('headless') else '-r'
    gazebo = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path('ros_gz_sim', 'launch', 'gz_sim.launch.py')),
        launch_arguments=[
            ('gz_args', f'{how} {arguments.path("world")}'),
            ('on_exit_shutdown', 'true'),
        ],
    )
    sim_time = {'use_sim_time': ParameterValue(True, value_type=bool)}
    bridge = Node(
        package='ros_gz_bridge',
        executable='parameter_bridge',
        name='gazebo_bridge',
        namespace=namespace,
        parameters=[
            {
                'config_file': ParameterValue(arguments.file('bridge_file'), value_type=str),
                **sim_time,
            }
        ],
        output='screen',
    )
    if not arguments.boolean('rviz'):
        return [gazebo, bridge]
    return [
        gazebo,
        bridge,
        Node(
            package='rviz2',
            executable='rviz2',
            name='rviz2',
            namespace=namespace,
            parameters=[sim_time],
            arguments=['-d', path(PACKAGE, 'config', 'gazebo.rviz')],
        ),
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
