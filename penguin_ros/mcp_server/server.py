# SPDX-License-Identifier: Apache-2.0
"""The server: which tools it offers, over standard input and output or HTTP on this machine."""

from __future__ import annotations

import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

from penguin_ros.errors import system_refusal
from penguin_ros.mcp_server.robot_link import RobotLink, RobotOptions
from penguin_ros.mcp_server.tools import RobotTools

NAME = 'penguin'
HOST = '127.0.0.1'
PATH = '/mcp'
MAX_BODY_BYTES = 1 << 20
MAX_SESSIONS = 32
INSTRUCTIONS = (
    'Eyes and memory of a robot. Ask about what its cameras show now or showed in the last '
    'seconds, recall what it saw, look at stored pictures again. Each reply has the evidence: '
    'which pictures, how old, which model. Answers can be wrong: prefer choices with probabilities '
    'where it matters, and say what an answer rests on.'
)
READ_ONLY = (
    'robot_status',
    'ask',
    'describe_now',
    'recall',
    'last_seen',
    'look_again',
    'list_rules',
)
CHANGES = ('test_rule', 'add_rule', 'remove_rule')
"""Tools that are offered only when changes are allowed."""


def make_server(link: RobotLink, *, allow_changes: bool) -> Any:
    """Returns the server with its tools."""
    server = MCPServer(
        NAME,
        title='penguin_ros',
        instructions=INSTRUCTIONS,
        version=_version(),
        log_level='WARNING',
    )
    tools = RobotTools(link)
    for name in READ_ONLY:
        server.add_tool(getattr(tools, name), annotations=ToolAnnotations(read_only_hint=True))
    for name in CHANGES if allow_changes else ():
        annotations = ToolAnnotations(
            read_only_hint=name == 'test_rule', destructive_hint=name != 'test_rule'
        )
        server.add_tool(getattr(tools, name), annotations=annotations)
    return server


async def serve_stdio(options: RobotOptions, *, allow_changes: bool) -> None:
    """Serves whoever started this process, until its input ends."""
    link = RobotLink(options)
    try:
        await make_server(link, allow_changes=allow_changes).run_stdio_async()
    finally:
        await link.close()


async def serve_http(
    options: RobotOptions, listening: socket.socket, *, allow_changes: bool
) -> None:
    """Serves HTTP on a socket of this machine, until the process is told to end; requests that name
    another host, or come from a page of another one, are refused.
    """
    link = RobotLink(options)
    application = make_server(link, allow_changes=allow_changes).streamable_http_app(
        streamable_http_path=PATH,
        host=HOST,
        max_request_body_size=MAX_BODY_BYTES,
        max_sessions=MAX_SESSIONS,
    )
    config = uvicorn.Config(application, log_level='warning', timeout_graceful_shutdown=3)
    try:
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        await link.close()


def listen(port: int) -> socket.socket:
    """Returns a socket that listens on this machine; SystemRefusal when the port is taken."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise system_refusal(error, f'cannot listen on {HOST}:{port}') from error
    return listening


def address(listening: socket.socket) -> str:
    """Returns the address that a client is given."""
    return f'http://{HOST}:{listening.getsockname()[1]}{PATH}'


def _version() -> str:
    try:
        return version('penguin_ros')
    except PackageNotFoundError:
        return ''
