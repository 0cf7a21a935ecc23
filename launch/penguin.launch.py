# SPDX-License-Identifier: Apache-2.0
"""Starts one penguin node, whose parameters come from a file and from arguments.

An argument that is left empty passes nothing, so that the parameter file, a parent launch file, or
else the node's own default in config.py applies.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from penguin_ros.ros.process.image_profile import profile_variables
from penguin_ros.ros.process.launch_arguments import LaunchArguments
from penguin_ros.ros.process.node_launch import (
    PACKAGE,
    Parameters,
    Respawn,
    arguments_in,
    namespace_in,
    node_action,
    node_arguments,
    optional_arguments,
)

PENGUIN_ARGUMENTS = {
    'cameras': 'Cameras, as name or name=topic, with commas between: '
    'front=/front/image_raw,rear=/rear/image_raw. Empty: those of params_file.',
    'bundle': 'Folder of a built bundle to run. Takes precedence over checkpoint. Empty: that of '
    'params_file.',
    'checkpoint': 'Folder or hub id of a published checkpoint to run. Empty: that of params_file.',
    'rules_file': 'YAML file of rules ("tell me when ..."), which the node also writes when rules '
    "are set. Empty: what params_file says, else one in ~/.ros for the node's name.",
    'autostart': 'false: wait for a lifecycle manager to configure and activate the node. Empty: '
    'what params_file says, else true.',
    'fastdds_profile': 'Fast DDS profile (XML) for the node; `images` takes the one for large raw '
    'images of this package. Camera drivers need it even more.',
}


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros penguin.launch.py` starts; `-s` lists the arguments."""
    file = 'YAML file of parameters; config/penguin.yaml is a start for one.'
    return LaunchDescription(
        [
            *node_arguments('penguin', 'topics', params_file=file),
            *optional_arguments(PENGUIN_ARGUMENTS),
            *respawn_arguments(),
            OpaqueFunction(function=start_node),
        ]
    )


def respawn_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for the process of the node, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'respawn',
            default_value='false',
            description='true: start the node again when it ends by itself.',
        ),
        DeclareLaunchArgument(
            'respawn_delay',
            default_value='10.0',
            description='Seconds until it is started again. Give about as many as the model takes '
            'to load: a node that dies while it loads, of too little memory say, would otherwise '
            'keep the machine loading.',
        ),
    ]


def start_node(context: LaunchContext) -> list[LogInfo | Node]:
    """Returns the actions, once the arguments have values."""
    arguments = arguments_in(context)
    respawn = Respawn(bool(arguments.boolean('respawn')), arguments.number('respawn_delay'))
    environment = profile_environment(context, arguments)
    node = node_action(context, 'penguin_node', node_parameters(arguments), respawn, environment)
    return [*namespace_note(arguments.text('namespace'), namespace_in(context)), node]


def node_parameters(arguments: LaunchArguments) -> Parameters:
    """Returns the parameters that were given as arguments; no others."""
    cameras = arguments.cameras('cameras')
    return {
        **arguments.given(
            arguments.boolean, {'use_sim_time': 'use_sim_time', 'autostart': 'autostart'}
        ),
        **arguments.given(
            arguments.path,
            {
                'bundle': 'model.bundle',
                'checkpoint': 'model.checkpoint',
                'rules_file': 'rule.file',
            },
        ),
        **({'cameras': list(cameras)} if cameras else {}),
        **{f'camera.{camera}.topic': topic for camera, topic in cameras.items() if topic},
    }


def profile_environment(context: LaunchContext, arguments: LaunchArguments) -> dict[str, str]:
    """Returns the variables that name a profile to the node's Fast DDS, and to no other process;
    other middlewares ignore them.
    """
    if arguments.text('fastdds_profile') == 'images':
        share = FindPackageShare(PACKAGE)
        profile = PathJoinSubstitution([share, 'config', 'fastdds_images.xml']).perform(context)
    else:
        profile = arguments.file('fastdds_profile')
    return dict.fromkeys(profile_variables(), profile) if profile else {}


def namespace_note(given: str, used: str) -> list[LogInfo]:
    """Returns a line for the log when a namespace was inherited that is pushed already."""
    if given == used:
        return []
    text = (
        f'penguin.launch.py: a parent launch file has pushed the namespace {given} already, and it '
        'is not added again; an absolute one (/...) always holds'
    )
    return [LogInfo(msg=text)]
