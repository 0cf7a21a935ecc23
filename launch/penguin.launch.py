# SPDX-License-Identifier: Apache-2.0
"""Starts one penguin node, whose parameters come from a file and from arguments.

An argument that is left empty passes nothing, so that the parameter file, a parent launch file, or
else the node's own default in config.py applies.
"""

from __future__ import annotations

from typing import Any, List  # noqa: UP035

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from penguin_ros.ros.process.image_profile import profile_variables
from penguin_ros.ros.process.launch_arguments import LaunchArguments, node_namespace

PACKAGE = 'penguin_ros'
Names = List[str]  # noqa: UP006  launch_ros compares with typing.List


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros penguin.launch.py` starts; `-s` lists the arguments."""
    return LaunchDescription(
        [
            *node_arguments(),
            *penguin_arguments(),
            *process_arguments(),
            OpaqueFunction(function=start_node),
        ]
    )


def node_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for any node, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'namespace',
            default_value='',
            description='Namespace of the node and its relative topics.',
        ),
        DeclareLaunchArgument(
            'name',
            default_value='penguin',
            description='Name of the node, first part of its ~/topics.',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value='',
            description='YAML file of parameters; config/penguin.yaml is a start for one. '
            "Empty: the node's defaults.",
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='',
            description='true: take the time from /clock (simulation, rosbag2) instead of the '
            'system. Empty: what params_file or a parent launch file says, else false.',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='',
            description='Least severe messages that the node logs: debug, info, warn, error or '
            'fatal, or LOGGER:=LEVEL. Empty: info.',
        ),
    ]


def penguin_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for cameras, the model and the start, each with default and meaning."""
    return [
        DeclareLaunchArgument(
            'cameras',
            default_value='',
            description='Cameras, as name or name=topic, with commas between: '
            'front=/front/image_raw,rear=/rear/image_raw. Empty: those of params_file.',
        ),
        DeclareLaunchArgument(
            'bundle',
            default_value='',
            description='Folder of a built bundle to run. Takes precedence '
            'over checkpoint. Empty: that of params_file.',
        ),
        DeclareLaunchArgument(
            'checkpoint',
            default_value='',
            description='Folder or hub id of a published checkpoint to run. '
            'Empty: that of params_file.',
        ),
        DeclareLaunchArgument(
            'rules_file',
            default_value='',
            description='YAML file of rules ("tell me when ..."), which the node also writes when '
            "rules are set. Empty: what params_file says, else one in ~/.ros for the node's name.",
        ),
        DeclareLaunchArgument(
            'autostart',
            default_value='',
            description='false: wait for a lifecycle manager to configure and activate the node. '
            'Empty: what params_file says, else true.',
        ),
    ]


def process_arguments() -> list[DeclareLaunchArgument]:
    """Returns the arguments for the process of the node, each with its default and its meaning."""
    return [
        DeclareLaunchArgument(
            'fastdds_profile',
            default_value='',
            description='Fast DDS profile (XML) for the node; `images` '
            'takes the one for large raw images of this package. Camera drivers need it even more.',
        ),
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


def start_node(context: LaunchContext) -> list[Any]:
    """Returns the actions, once the arguments have values."""
    arguments = LaunchArguments(lambda name: str(LaunchConfiguration(name).perform(context)))
    level = arguments.log_level('log_level')
    file = arguments.file('params_file')
    given = arguments.text('namespace')
    namespace = node_namespace(given, context.launch_configurations.get('ros_namespace', ''))
    node = Node(
        package=PACKAGE,
        executable='penguin_node',
        name=arguments.text('name') or None,
        namespace=namespace,
        parameters=[*filter(None, [file, node_parameters(arguments)])],
        output='screen',
        emulate_tty=True,
        respawn=bool(arguments.boolean('respawn')),
        respawn_delay=arguments.number('respawn_delay'),
        additional_env=profile_environment(context, arguments),
        arguments=['--ros-args', *(['--log-level', level] if level else [])],
    )
    return [*namespace_note(given, namespace), node]


def node_parameters(arguments: LaunchArguments) -> dict[str, ParameterValue]:
    """Returns the parameters that were given as arguments; no others."""
    parameters: dict[str, ParameterValue] = {}
    for name in ('use_sim_time', 'autostart'):
        is_wanted = arguments.boolean(name)
        if is_wanted is not None:
            parameters[name] = ParameterValue(is_wanted, value_type=bool)
    for name in ('bundle', 'checkpoint'):
        if arguments.text(name):
            parameters[f'model.{name}'] = ParameterValue(arguments.path(name), value_type=str)
    if arguments.text('rules_file'):
        parameters['rule.file'] = ParameterValue(arguments.path('rules_file'), value_type=str)
    cameras = arguments.cameras('cameras')
    if cameras:
        parameters['cameras'] = ParameterValue(list(cameras), value_type=Names)
    for camera, topic in cameras.items():
        if topic:
            parameters[f'camera.{camera}.topic'] = ParameterValue(topic, value_type=str)
    return parameters


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
