# SPDX-License-Identifier: Apache-2.0
"""Starts one memory node beside penguin nodes that run already.

It starts again by itself when it ends: what it has stored is kept, and no penguin node needs it. An
argument that is left empty passes nothing, so that the parameter file or the node's own default
applies.
"""

from __future__ import annotations

from launch import LaunchDescription

from penguin_ros.ros.process.launch_arguments import LaunchArguments
from penguin_ros.ros.process.node_launch import NodeLaunch, Parameters

MEMORY_ARGUMENTS = {
    'nodes': 'Penguin nodes to listen to, with commas between: penguin,/rear/penguin. Empty: those '
    'of params_file, else penguin.',
    'folder': 'Folder of the store, which is made where there is none. Empty: that of params_file, '
    'else .local/share/penguin_ros/memory in the home folder.',
    'pictures': 'true: keep a picture for each caption; they can show people. Empty: what '
    'params_file says, else false.',
    'base_frame': 'Coordinate frame of the robot whose pose in `map` is stored, by /tf. Empty: '
    'that of params_file, else base_link.',
}


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros memory.launch.py` starts; `-s` lists the arguments."""
    return NodeLaunch(
        executable='memory_node',
        name='memory',
        interfaces='services',
        own_arguments=MEMORY_ARGUMENTS,
        parameters=node_parameters,
        respawn_delay_s=5.0,
    ).description()


def node_parameters(arguments: LaunchArguments) -> Parameters:
    """Returns the parameters that were given as arguments; no others."""
    return {
        **arguments.given(
            arguments.boolean, {'use_sim_time': 'use_sim_time', 'pictures': 'picture.enabled'}
        ),
        **arguments.given(arguments.path, {'folder': 'folder'}),
        **arguments.given(arguments.text, {'base_frame': 'pose.base_frame'}),
        **arguments.given(arguments.names, {'nodes': 'nodes'}),
    }
