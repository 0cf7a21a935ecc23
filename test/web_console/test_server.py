# SPDX-License-Identifier: Apache-2.0
"""The server over real sockets of the loopback: what a browser gets, and what attackers do not.

The robot behind it is a stand-in that answers as told; nothing here is a claim about a node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('aiohttp', reason='the console needs aiohttp')

import aiohttp
from aiohttp import web

from penguin_ros.http_site.site import site_of
from penguin_ros.web_console.access import Doorkeeper
from penguin_ros.web_console.audit import AuditLog
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.rate_limit import RateLimit
from penguin_ros.web_console.robot import Fields, OnPiece, Picture, Refused
from penguin_ros.web_console.server import HEADERS, MAX_BROWSERS, ConsoleServer, Door

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

    def look(
        self, node: str, camera: str, width: int, on_picture: Callable[[Picture], None]
    ) -> Any:
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
        async with aiohttp.ClientSession(cookie_jar=jar, headers={'Origin': self.url}) as session:
            response = await session.get(f'{self.url}/login', params={'token': self.tokens[-1]})
            assert response.status == 200 and response.url.path == '/'
            yield session

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.browser() as session, session.ws_connect(f'{self.url}/socket') as socket:
            assert (await self.told(socket))['type'] == 'hello'
            yield socket

    @staticmethod
    async def told(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        return dict(json.loads(await socket.receive_str(timeout=WAIT_S)))


def served(
    tmp_path: Path, use: Callable[[Console], Awaitable[None]], *, read_only: bool = False
) -> None:
    """Serves a console on a port of the loopback and runs `use` with it."""

    async def run() -> None:
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
            AuditLog(audit, print, lambda: 'now'),
            read_only,
        )
        hub, robot = Hub(), Robot()
        runner = ConsoleServer(door, hub, robot).runner()
        await runner.setup()
        await web.TCPSite(runner, '127.0.0.1', port).start()
        try:
            await use(Console(port, tokens, hub, robot, audit))
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_a_printed_address_opens_the_page_once(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.browser() as session:
            page = await session.get(f'{console.url}/')
            assert page.status == 200 and '<!doctype html>' in await page.text()
            cookie = next(iter(session.cookie_jar))
            assert cookie['httponly'] and cookie['samesite'] == 'Strict'
            for name, value in HEADERS.items():
                assert page.headers[name] == value
        used = console.tokens[0]
        async with aiohttp.ClientSession() as session:
            again = await session.get(f'{console.url}/login', params={'token': used})
            assert again.status == 403
            assert (await session.get(f'{console.url}/')).status == 401
            assert (await session.get(f'{console.url}/health')).status == 200

    served(tmp_path, use)


def test_a_question_is_answered_piece_by_piece_and_audited(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        hostile = '<script>alert(1)</script>\x1b[31m'
        async with console.socket() as socket:
            await socket.send_json({'id': 1, 'do': 'ask', 'question': hostile})
            piece, done = await console.told(socket), await console.told(socket)
        assert (piece['type'], piece['text']) == ('piece', 'a')
        assert (done['type'], done['answer']['text']) == ('done', hostile)
        line = json.loads(console.audit.read_text())
        assert line['what'] == 'ask' and line['fields']['question'] == hostile and line['who']

    served(tmp_path, use)


def test_a_question_is_cancelled_when_asked_and_when_the_browser_leaves(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.socket() as socket:
            await socket.send_json({'id': 1, 'do': 'ask', 'question': 'slow'})
            await until(lambda: console.robot.begun == 1)
            await socket.send_json({'id': 2, 'do': 'cancel', 'request': 1})
            assert (await console.told(socket))['why'] == 'cancelled'
            await socket.send_json({'id': 3, 'do': 'ask', 'question': 'slow'})
            await until(lambda: console.robot.begun == 2)
        await until(lambda: console.robot.cancelled == 2)

    served(tmp_path, use)


def test_a_read_only_console_shows_and_changes_nothing(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.socket() as socket:
            for number, name in enumerate(('ask', 'set_rule', 'remove_rule', 'set_parameter')):
                await socket.send_json({'id': number, 'do': name})
                assert 'read-only' in (await console.told(socket))['why']
            console.hub.publish('caption', '/penguin', {'text': 'seen'})
            assert (await console.told(socket))['text'] == 'seen'

    served(tmp_path, use, read_only=True)


def test_a_slow_reader_loses_pictures_and_no_words(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.socket() as socket:
            await socket.send_json({'id': 1, 'do': 'look', 'camera': 'front', 'rate': 30})
            await until(lambda: bool(console.robot.views))
            for number in range(300):
                console.robot.views[0](Picture('', 'front', number, b'x' * 200_000))
                console.hub.publish('caption', '/penguin', {'text': str(number)})
                await asyncio.sleep(0)
            words, pictures = [], 0
            while len(words) < 300:
                message = await socket.receive(timeout=WAIT_S)
                if message.type is aiohttp.WSMsgType.BINARY:
                    pictures += 1
                elif (content := json.loads(message.data))['type'] == 'caption':
                    words.append(content['text'])
            assert words == [str(number) for number in range(300)] and pictures < 100
        await until(lambda: not console.robot.views)

    served(tmp_path, use)


@pytest.mark.parametrize(
    'headers',
    [
        {'Host': 'evil.example'},
        {'Host': 'evil.example:80', 'Origin': 'http://evil.example'},
        {'Origin': 'http://evil.example'},
        {'Origin': 'null'},
    ],
)
def test_a_page_of_another_site_opens_no_socket_even_with_the_cookie(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async def use(console: Console) -> None:
        async with console.browser() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f'{console.url}/socket', headers=headers)
            assert caught.value.status in (403, 421)

    served(tmp_path, use)


def test_paths_out_of_the_folder_and_other_methods_find_nothing(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.browser() as session:
            for path in (
                '/../server.py',
                '/%2e%2e/server.py',
                '/..%2fserver.py',
                '//etc/passwd',
                '/x.html',
            ):
                response = await raw(console, f'GET {path} HTTP/1.1', cookie=cookie_of(session))
                assert response.split()[1] in (b'404', b'400', b'403'), path
            for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'):
                response = await session.request(method, f'{console.url}/', data=b'x=1')
                assert response.status in (404, 405, 413), method

    served(tmp_path, use)


def test_a_body_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        reader, writer = await asyncio.open_connection('127.0.0.1', console.port)
        host = f'Host: 127.0.0.1:{console.port}'
        writer.write(f'POST / HTTP/1.1\r\n{host}\r\nContent-Length: {1 << 30}\r\n\r\n'.encode())
        answer = await asyncio.wait_for(reader.readline(), WAIT_S)
        assert answer.split()[1] in (b'401', b'404', b'405', b'413')
        sent = 0
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            for _ in range(64):
                writer.write(b'x' * (1 << 20))
                await asyncio.wait_for(writer.drain(), 2.0)
                sent += 1
        assert sent < 64
        writer.close()

    served(tmp_path, use)


def test_floods_of_headers_and_frames_that_are_none_end_the_connection_alone(
    tmp_path: Path,
) -> None:
    async def use(console: Console) -> None:
        flood = await raw(console, 'GET / HTTP/1.1\r\n' + 'X-A: b\r\n' * 40_000)
        assert b'400' in flood or b'431' in flood or not flood
        garbage = await raw(console, '\x16\x03\x01\x02 not HTTP at all')
        assert b'200' not in garbage
        async with console.socket() as bad, console.socket() as good:
            for text in ('', '[]', 'nonsense', '{"id": 1, "do": "shutdown"}'):
                await bad.send_str(text)
                assert (await console.told(bad))['type'] == 'refused'
            await bad.send_bytes(b'\x00')  # this page sends words only
            assert (await bad.receive(timeout=WAIT_S)).type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
            )
            await good.send_json({'id': 1, 'do': 'ask', 'question': 'still there?'})
            assert (await console.told(good))['type'] == 'piece'

    served(tmp_path, use)


def test_browsers_beyond_the_limit_are_refused_and_half_open_ones_hold_nobody_up(
    tmp_path: Path,
) -> None:
    async def use(console: Console) -> None:
        idle = [await asyncio.open_connection('127.0.0.1', console.port) for _ in range(200)]
        async with console.browser() as session, contextlib.AsyncExitStack() as stack:
            for _ in range(MAX_BROWSERS):
                await stack.enter_async_context(session.ws_connect(f'{console.url}/socket'))
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f'{console.url}/socket')
            assert caught.value.status == 503
        async with console.socket():
            pass
        for _, writer in idle:
            writer.close()

    served(tmp_path, use)


def test_guesses_of_tokens_are_limited(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with aiohttp.ClientSession() as session:
            codes = [
                (await session.get(f'{console.url}/login', params={'token': str(n)})).status
                for n in range(40)
            ]
        assert codes[0] == 403 and codes[-1] == 429

    served(tmp_path, use)


def test_a_frame_behind_an_answer_is_given_or_refused(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.browser() as session:
            for stamp, status in (('5', 200), ('6', 404), ('-1', 400), ('x', 400), ('9' * 40, 400)):
                response = await session.get(f'{console.url}/frame', params={'stamp': stamp})
                assert response.status == status

    served(tmp_path, use)


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
