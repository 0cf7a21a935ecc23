# SPDX-License-Identifier: Apache-2.0
"""`penguin mcp`: offers a running node to LLM agents, by the Model Context Protocol."""

from __future__ import annotations

import argparse
import asyncio
import sys

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import seconds

EPILOG = """examples:
  penguin mcp                       an agent starts this and talks over its standard input
  penguin mcp --allow-changes       the agent may also add, test and remove rules
  penguin mcp --http 8351           one server for several agents of this machine
  penguin mcp --node /robot1/penguin

exit codes: 0 done, 2 wrong usage or something missing, 130 interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('--node', default='', help='full name of the node, when several run')
    parser.add_argument('--memory', default='', help='name of the memory node, when several run')
    parser.add_argument(
        '--allow-changes',
        action='store_true',
        help='offer tools that add, test and remove rules (default: nothing is changed)',
    )
    parser.add_argument(
        '--http',
        type=_port,
        metavar='PORT',
        help='serve streamable HTTP on this port of 127.0.0.1, 0 for a free one (default: stdio)',
    )
    parser.add_argument(
        '--timeout',
        type=seconds,
        default=120.0,
        metavar='S',
        help='a tool gives up after S seconds (default: 120)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until the input ends, or Ctrl-C."""
    from penguin_ros.mcp_server.robot_link import RobotOptions
    from penguin_ros.mcp_server.server import address, listen, serve_http, serve_stdio
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    options = RobotOptions(arguments.node, arguments.memory, arguments.timeout)
    allowed = arguments.allow_changes
    if arguments.http is None:
        asyncio.run(serve_stdio(options, allow_changes=allowed))
        return exit_codes.DONE
    listening = listen(arguments.http)
    print(f'serving {address(listening)}', file=sys.stderr, flush=True)
    asyncio.run(serve_http(options, listening, allow_changes=allowed))
    return exit_codes.DONE


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError('a port is a number from 0 to 65535')
    return number
