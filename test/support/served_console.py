# SPDX-License-Identifier: Apache-2.0
"""A console served over real sockets of the loopback, with a stand-in for the robot that answers as
told; nothing here is a claim about a node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from penguin_ros.http_site.site import site_of
from penguin_ros.web_console.access import Doorkeeper
from penguin_ros.web_console.audit import AuditLog
from penguin_ros.web_console.door import Door
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.rate_limit import RateLimit
from penguin_ros.web_console.robot import Fields, Look, OnPiece, Picture, Refused
from penguin_ros.web_console.server import ConsoleServer

WAIT_S = 30.0


class Robot:
    """Answers in two pieces; `slow` questions wait to be cancelled."""

    def __init__(self) -> None:
        self.views: list[Callable[[Picture], None]] = []
        self.begun = self.cancelled = 0

    async def do(self, name: str, fields: Fields, on_piece: OnPiece) -> Fields:
        if fields.get('question') == 'slow':
            self.begun += 1
            try:
                await asyncio.sleep(WAIT_S)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if name != 'ask':
            raise Refused(f'{name} is not for stand-ins')
        on_piece({'text': 'a'})
        return {'answer': {'text': fields['question']}}

    def look(self, look: Look, on_picture: Callable[[Picture], None]) -> Any:
        self.views.append(on_picture)
        return _Closer(lambda: self.views.remove(on_picture))

    async def frame(self, node: str, camera: str, stamp_ns: int) -> bytes:
        if stamp_ns != 5:
            raise Refused('not kept')
        return b'jpeg'


class _Closer:
    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


class Console:
    """A served console, its address, and browsers that log in."""

    def __init__(self, port: int, tokens: list[str], hub: Hub, robot: Robot, audit: Path) -> None:
        self.port, self.tokens, self.hub, self.robot, self.audit = port, tokens, hub, robot, audit
        self.url = f'http://127.0.0.1:{port}'

    @contextlib.asynccontextmanager
    async def browser(self) -> AsyncIterator[aiohttp.ClientSession]:
        jar = aiohttp.CookieJar(unsafe=True)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            cookie_jar=jar, connector=connector, headers={'Origin': self.url}
        ) as session:
            response = await session.get(f'{self.url}/login', params={'token': self.tokens[-1]})
            assert response.status == 200 and response.url.path == '/'
            yield session

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.browser() as session, session.ws_connect(f'{self.url}/socket') as socket:
            for kind in ('hello', 'line'):
                assert (await self.told(socket))['type'] == kind
            yield socket

    @staticmethod
    async def told(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        return dict(json.loads(await socket.receive_str(timeout=WAIT_S)))


def served(
    tmp_path: Path, use: Callable[[Console], Awaitable[None]], *, read_only: bool = False
) -> None:
    """Serves a console on a port of the loopback and runs `use` with it."""

    async def run() -> None:
        async with serving(tmp_path, read_only=read_only) as console:
            await use(console)

    asyncio.run(run())


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, *, read_only: bool = False) -> AsyncIterator[Console]:
    """Serves a console on a port of the loopback."""
    tokens: list[str] = []
    keeper = Doorkeeper(tokens.append, time.monotonic)
    keeper.renew_token()
    listener = await asyncio.get_running_loop().create_server(asyncio.Protocol, '127.0.0.1', 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    audit = tmp_path / 'audit.jsonl'
    door = Door(
        site_of('127.0.0.1', port),
        keeper,
        RateLimit(1.0, 20, time.monotonic),
        RateLimit(500.0, 1000, time.monotonic),
        AuditLog(audit, print, lambda: 'now'),
        read_only,
    )
    hub, robot = Hub(time.time), Robot()
    server = ConsoleServer(door, hub, robot)
    await server.start('127.0.0.1', port)
    try:
        yield Console(port, tokens, hub, robot, audit)
    finally:
        await server.stop()


def cookie_of(session: aiohttp.ClientSession) -> str:
    cookie = next(iter(session.cookie_jar))
    return f'{cookie.key}={cookie.value}'


async def raw(console: Console, request: str, cookie: str = '') -> bytes:
    """Sends what no client would send; returns what comes until the connection ends."""
    reader, writer = await asyncio.open_connection('127.0.0.1', console.port)
    end = f'\r\nHost: 127.0.0.1:{console.port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n'
    received = b''
    with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
        writer.write((request.rstrip('\r\n') + end).encode('latin-1'))
        await asyncio.wait_for(writer.drain(), WAIT_S)
        received = await asyncio.wait_for(reader.read(), WAIT_S)
    writer.close()
    return received


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
