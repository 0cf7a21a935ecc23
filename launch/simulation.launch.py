# SPDX-License-Identifier: Apache-2.0
"""Starts the simulated camera and one penguin node that watches it, both in the world's time.

Without arguments the node runs the small model that is included. The parameters for simulated
worlds are in config/simulation.yaml; an argument that is left empty changes none of them.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from penguin_ros.demo.world_launch import watching_arguments, watching_node
from penguin_ros.ros.process.node_launch import (
    PACKAGE,
    arguments_in,
    namespace_in,
    optional_arguments,
    parameter_values,
)

CAMERA_ARGUMENTS = {
    'scene': 'JSON file of a scene to show. Empty: what params_file says, else random scenes.',
    'seed': 'Seed of the first random scene; the next ones follow it. Empty: that of params_file, '
    'else 1.',
    'level': 'Kind of random scenes: 1 stands still, 2 moves, 3 is as varied as can be. Empty: '
    'that of params_file, else 3.',
    'real_time_factor': 'Simulated seconds per real second. Empty: that of params_file, else 1.',
}


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros simulation.launch.py` starts; `-s` lists the
    arguments.
    """
    node_arguments = watching_arguments(
        namespace='Namespace of both nodes and of their relative topics.',
        params_file='YAML file of parameters of both nodes.',
        system_time='(clock:=wall of the camera)',
    )
    return LaunchDescription(
        [
            *node_arguments,
            *optional_arguments(CAMERA_ARGUMENTS),
            OpaqueFunction(function=start_camera),
            *watching_node(),
        ]
    )


def start_camera(context: LaunchContext) -> list[Node]:
    """Returns the simulated camera, once the arguments have values."""
    arguments = arguments_in(context)
    level = arguments.integer('level', choices=(1, 2, 3))
    parameters = parameter_values(
        {
            **arguments.given(arguments.file, {'scene': 'scene'}),
            **arguments.given(arguments.integer, {'seed': 'seed'}),
            **({} if level is None else {'level': level}),
            **arguments.given(arguments.number, {'real_time_factor': 'real_time_factor'}),
        }
    )
    return [
        Node(
            package=PACKAGE,
            executable='sim_camera',
            name='sim_camera',
            namespace=namespace_in(context),
            parameters=[*filter(None, [arguments.file('params_file'), parameters])],
            output='screen',
            emulate_tty=True,
        )
    ]
