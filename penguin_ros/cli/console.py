# SPDX-License-Identifier: Apache-2.0
"""`penguin console`: serves the operator's page for all penguin nodes that are on the air."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from penguin_ros.cli import exit_codes

PORT = 8350

EPILOG = """examples:
  penguin console                          # then open the address that it prints
  penguin console --read-only --audit console.jsonl
  ssh -L 8350:127.0.0.1:8350 ROBOT         # from another machine, without TLS of its own
  penguin console --bind 0.0.0.0 --tls-certificate robot.pem --tls-key robot.key --name robot.local

The address works once; when it was used, the next one is printed. --token-file names a file with
one that works again and again.

exit codes: 0 ended by Ctrl-C or SIGTERM, 2 wrong usage or something missing"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        '--bind',
        default='127.0.0.1',
        metavar='IP',
        help='address to listen on (default: 127.0.0.1)',
    )
    parser.add_argument(
        '--port', type=port, default=PORT, metavar='N', help=f'port to listen on (default: {PORT})'
    )
    parser.add_argument(
        '--name',
        action='append',
        default=[],
        metavar='HOST',
        help='a name under which browsers reach it, through a reverse proxy say; may be repeated',
    )
    parser.add_argument('--token-file', type=Path, metavar='FILE', help='a token that stays')
    parser.add_argument('--tls-certificate', type=Path, metavar='FILE', help='PEM file for TLS')
    parser.add_argument('--tls-key', type=Path, metavar='FILE', help='PEM file of its key')
    parser.add_argument(
        '--read-only', action='store_true', help='show everything, ask and change nothing'
    )
    parser.add_argument(
        '--audit', type=Path, metavar='FILE', help='write questions and changes to FILE, not stderr'
    )
    # A launch file puts the name of the node there; rclpy reads it from the command line by itself.
    parser.add_argument(
        '--ros-args', nargs=argparse.REMAINDER, help='what follows is for ROS: -r __node:=NAME'
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C."""
    from penguin_ros.ros.console_node.main import ConsoleOptions, check, serve
    from penguin_ros.ros.process.log_folder import ensure_log_folder
    from penguin_ros.ros.process.requirements import require_libraries, require_messages

    options = ConsoleOptions(
        arguments.bind,
        arguments.port,
        tuple(arguments.name),
        arguments.token_file,
        arguments.tls_certificate,
        arguments.tls_key,
        arguments.read_only,
        arguments.audit,
    )
    check(options)
    require_messages()
    require_libraries()
    ensure_log_folder()
    try:
        serve(options, _print_address, threading.Event().is_set)
    except KeyboardInterrupt:
        pass
    return exit_codes.DONE


def _print_address(address: str) -> None:
    print(f'Open {address}', flush=True)


def port(text: str) -> int:
    """Returns the port that a word names."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError('a port is a number from 1 to 65535')
    return number
