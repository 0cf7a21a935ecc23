# SPDX-License-Identifier: Apache-2.0
"""What the launch files of simulated worlds share: the penguin node that watches the world, and the
arguments that reach it.

The node is started by its own launch file. Without arguments it runs the small model that is
included, in the world's time. Only launch files import this file: it needs `launch` and
`launch_ros`, which the ROS 2 wheels lack.
"""

from __future__ import annotations

from launch import LaunchContext
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from penguin_ros.demo.included_model import completed_arguments
from penguin_ros.ros.process.node_launch import PACKAGE, arguments_in, optional_arguments

PASSED_ON = ('namespace', 'params_file', 'bundle', 'checkpoint', 'use_sim_time')
"""Arguments that are passed on to penguin.launch.py as they are."""


def watching_arguments(
    namespace: str, params_file: str, system_time: str
) -> list[DeclareLaunchArgument]:
    """Returns the arguments that the penguin node gets, each with its default and its meaning.

    `namespace` and `params_file` say what else they concern, `system_time` what is to be done
    where the node does not take the world's time.
    """
    parameters = share_file('config', 'simulation.yaml')
    return [
        *optional_arguments({'namespace': namespace}),
        DeclareLaunchArgument('params_file', default_value=parameters, description=params_file),
        *optional_arguments(
            {
                'bundle': 'Folder of a built bundle to run. Empty: what params_file names, else '
                'the small model of the simulated world that is included.',
                'checkpoint': 'Folder or hub id of a published checkpoint to run instead of a '
                'bundle.',
                'use_sim_time': f"false: the penguin node takes the system's time {system_time}. "
                'Empty: what params_file says, else true.',
            }
        ),
    ]


def watching_node() -> list[OpaqueFunction | IncludeLaunchDescription]:
    """Returns the penguin node, after what completes its arguments."""
    source = PythonLaunchDescriptionSource(share_file('launch', 'penguin.launch.py'))
    given = [(name, LaunchConfiguration(name)) for name in PASSED_ON]
    return [
        OpaqueFunction(function=complete_arguments),
        IncludeLaunchDescription(source, launch_arguments=given),
    ]


def complete_arguments(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Returns what sets the arguments of the penguin node that nobody has given: the included
    model, and the world's time.
    """
    of_parents = context.launch_configurations.get('global_params', [])
    values = completed_arguments(arguments_in(context), of_parents)
    return [SetLaunchConfiguration(name, value) for name, value in values.items()]


def share_file(folder: str, file: str, package: str = PACKAGE) -> PathJoinSubstitution:
    """Returns the path of a file that a package installs."""
    return PathJoinSubstitution([FindPackageShare(package), folder, file])
