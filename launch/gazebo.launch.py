# SPDX-License-Identifier: Apache-2.0
"""Starts Gazebo Sim with a world, the bridge to ROS 2 and one penguin node that watches the world's
camera, in the world's time. Without arguments the node runs the small model that is included.

It needs ros_gz_sim and ros_gz_bridge (apt: ros-$ROS_DISTRO-ros-gz). The topics are in
config/gazebo_bridge.yaml, the node's parameters for simulated worlds in config/simulation.yaml.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from penguin_ros.demo.world_launch import share_file, watching_arguments, watching_node
from penguin_ros.ros.process.node_launch import arguments_in, namespace_in, parameter_values


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros gazebo.launch.py` starts; `-s` lists the arguments."""
    node_arguments = watching_arguments(
        namespace='Namespace of the node, the bridge and their relative topics.',
        params_file="YAML file of the node's parameters.",
        system_time="instead of the world's",
    )
    return LaunchDescription(
        [
            *node_arguments,
            *world_arguments(),
            OpaqueFunction(function=start_world),
            *watching_node(),
        ]
    )


def world_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments of Gazebo and of what is shown, with their defaults and meanings."""
    return [
        DeclareLaunchArgument(
            'world',
            default_value=share_file('worlds', 'penguin_demo.sdf'),
            description='SDF file of the world.',
        ),
        DeclareLaunchArgument(
            'bridge_file',
            default_value=share_file('config', 'gazebo_bridge.yaml'),
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


def start_world(context: LaunchContext) -> list[IncludeLaunchDescription | Node]:
    """Returns Gazebo, the bridge and, when asked for, rviz2, once the arguments have values."""
    arguments = arguments_in(context)
    how = '-r -s --headless-rendering' if arguments.boolean('headless') else '-r'
    gazebo = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(share_file('launch', 'gz_sim.launch.py', 'ros_gz_sim')),
        launch_arguments=[
            ('gz_args', f'{how} {arguments.path("world")}'),
            ('on_exit_shutdown', 'true'),
        ],
    )
    bridge_parameters = {'config_file': arguments.file('bridge_file'), 'use_sim_time': True}
    bridge = Node(
        package='ros_gz_bridge',
        executable='parameter_bridge',
        name='gazebo_bridge',
        namespace=namespace_in(context),
        parameters=[parameter_values(bridge_parameters)],
        output='screen',
    )
    if not arguments.boolean('rviz'):
        return [gazebo, bridge]
    viewer = Node(
        package='rviz2',
        executable='rviz2',
        name='rviz2',
        namespace=namespace_in(context),
        parameters=[parameter_values({'use_sim_time': True})],
        arguments=['-d', share_file('config', 'gazebo.rviz')],
    )
    return [gazebo, bridge, viewer]
