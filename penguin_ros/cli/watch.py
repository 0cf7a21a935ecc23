# SPDX-License-Identifier: Apache-2.0
"""`penguin watch`: shows captions and answers of a running node as they come."""

from __future__ import annotations

import argparse
import math

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import endless_seconds
from penguin_ros.console import status_line
from penguin_ros.ros.client.watcher import Watcher, json_lines, plain_lines

EPILOG = """examples:
  penguin watch
  penguin watch --node /robot1/penguin --json | jq .text
  penguin watch --count 1 --seconds 30     # exit code 1 when no caption came in 30 s"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('--node', default='', help='full name of the node, when several run')
    parser.add_argument(
        '--seconds',
        type=endless_seconds,
        default=math.inf,
        metavar='S',
        help='stop after S seconds',
    )
    parser.add_argument('--count', type=int, default=0, metavar='N', help='stop after N captions')
    parser.add_argument(
        '--json', action='store_true', help='one JSON object per message, with the evidence'
    )


def run(arguments: argparse.Namespace) -> int:
    """Watches until it is stopped; exit code 1 when fewer captions than asked for came in time."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    from penguin_ros.ros.client.session import session

    with session('penguin_watch') as client_session:
        name = client_session.find_node(arguments.node)
        status_line(f'watching {name}')
        watcher = Watcher(client_session.node, name, json_lines if arguments.json else plain_lines)
        try:
            client_session.spin_until(
                lambda: 0 < arguments.count <= watcher.captions, arguments.seconds
            )
        except KeyboardInterrupt:
            return exit_codes.DONE  # the ordinary way to end a watch
        return exit_codes.FAILED if watcher.captions < arguments.count else exit_codes.DONE
