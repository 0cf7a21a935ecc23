# SPDX-License-Identifier: Apache-2.0
"""Starts one overlay node beside a penguin node: pictures with captions and rule states drawn on
them, for RViz, Foxglove and rqt; nothing is drawn while nobody looks.

It starts again by itself when it ends: no penguin node needs it. An argument that is left empty
passes nothing, so that the parameter file or the node's own default applies.
"""

from __future__ import annotations

from launch import LaunchDescription

from penguin_ros.ros.process.launch_arguments import LaunchArguments
from penguin_ros.ros.process.node_launch import NodeLaunch, Parameters

OVERLAY_ARGUMENTS = {
    'node': 'Penguin node to listen to. Empty: that of params_file, else penguin.',
    'rules': 'Which rules are named: events, all or none. Empty: what params_file says, else '
    'events.',
}


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros overlay.launch.py` starts; `-s` lists the arguments."""
    return NodeLaunch(
        executable='overlay_node',
        name='overlay',
        interfaces='topics',
        own_arguments=OVERLAY_ARGUMENTS,
        parameters=node_parameters,
        respawn_delay_s=2.0,
    ).description()


def node_parameters(arguments: LaunchArguments) -> Parameters:
    """Returns the parameters that were given as arguments; no others."""
    return {
        **arguments.given(arguments.boolean, {'use_sim_time': 'use_sim_time'}),
        **arguments.given(arguments.text, {'node': 'node', 'rules': 'rules.show'}),
    }
