# SPDX-License-Identifier: Apache-2.0
"""Serves the operator's page for all penguin nodes on the air; the address is printed, and works
once.

It starts again by itself when it ends: no node needs it, and it finds them again. An argument that
is left empty passes nothing, so that the default of `penguin console` applies.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from penguin_ros.ros.process.launch_arguments import LaunchArguments
from penguin_ros.ros.process.node_launch import (
    PACKAGE,
    arguments_in,
    optional_arguments,
    respawn_argument,
)

CONSOLE_ARGUMENTS = {
    'bind': 'Address to listen on. Empty: 127.0.0.1, which this machine alone reaches; another one '
    'needs tls_certificate and tls_key, or names of a reverse proxy.',
    'port': 'Port to listen on. Empty: 8350.',
    'names': 'Names under which browsers reach it, with commas between: robot.local, or those of a '
    'reverse proxy.',
    'token_file': 'File with a token that works again and again, readable by its owner only. '
    'Empty: each address that is printed works once.',
    'tls_certificate': 'PEM file with a certificate for TLS.',
    'tls_key': 'PEM file with the key of the certificate.',
    'read_only': 'true: show everything, ask and change nothing. Empty: false.',
    'audit': 'File that gets a line per question and change. Empty: the log does.',
}


def generate_launch_description() -> LaunchDescription:
    """Returns what `ros2 launch penguin_ros console.launch.py` starts; `-s` lists the arguments."""
    node_name = DeclareLaunchArgument(
        'name', default_value='penguin_console', description="Name of the console's node."
    )
    return LaunchDescription(
        [
            *optional_arguments(CONSOLE_ARGUMENTS),
            node_name,
            respawn_argument('console'),
            OpaqueFunction(function=start_console),
        ]
    )


def start_console(context: LaunchContext) -> list[Node]:
    """Returns the console's process, once the arguments have values."""
    arguments = arguments_in(context)
    return [
        Node(
            package=PACKAGE,
            executable='penguin',
            name=arguments.text('name') or None,
            arguments=command_line(arguments),
            output='screen',
            emulate_tty=True,
            respawn=bool(arguments.boolean('respawn')),
            respawn_delay=5.0,
        )
    ]


def command_line(arguments: LaunchArguments) -> list[str]:
    """Returns the words behind `penguin`: the verb, and an option for each argument that was
    given.
    """
    words = ['console']
    if arguments.text('bind'):
        words += ['--bind', arguments.text('bind')]
    port = arguments.integer('port')
    if port is not None:
        words += ['--port', str(port)]
    for name in arguments.names('names'):
        words += ['--name', name]
    for name in ('token_file', 'tls_certificate', 'tls_key'):
        if arguments.text(name):
            words += [f'--{name.replace("_", "-")}', arguments.file(name)]
    if arguments.boolean('read_only'):
        words.append('--read-only')
    if arguments.text('audit'):
        words += ['--audit', arguments.path('audit')]
    return words
