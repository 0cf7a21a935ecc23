# SPDX-License-Identifier: Apache-2.0
"""Records a penguin node and its cameras into an MCAP file that Foxglove and rosbag2 open, with the
captions on the pictures, until it is stopped.

It never starts again by itself: a recording is never added to. An argument that is left empty
passes nothing, so that the parameter file or the node's own default applies.
"""

from __future__ import annotations

from launch import LaunchDescription

from penguin_ros.ros.process.launch_arguments import LaunchArguments
from penguin_ros.ros.process.node_launch import NodeLaunch, Parameters

RECORD_ARGUMENTS = {
    'node': 'Penguin node to record. Empty: that of params_file, else penguin.',
    'folder': 'Folder of the recording, a new one. Empty: one named after the time.',
    'pictures': 'same: the topics that the penguin node takes; compressed: those beside them; '
    'none. Empty: what params_file says, else same.',
    'topics': 'Full names of topics to record besides, with commas between. Empty: those of '
    'params_file, else /tf,/tf_static,/diagnostics.',
}


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros record.launch.py` starts; `-s` lists the arguments."""
    return NodeLaunch(
        executable='record_node',
        name='recorder',
        interfaces='names',
        own_arguments=RECORD_ARGUMENTS,
        parameters=node_parameters,
    ).description()


def node_parameters(arguments: LaunchArguments) -> Parameters:
    """Returns the parameters that were given as arguments; no others."""
    return {
        **arguments.given(arguments.boolean, {'use_sim_time': 'use_sim_time'}),
        **arguments.given(arguments.text, {'node': 'node', 'pictures': 'picture.transport'}),
        **arguments.given(arguments.path, {'folder': 'folder'}),
        **arguments.given(arguments.names, {'topics': 'topics'}),
    }
