# SPDX-License-Identifier: Apache-2.0
"""The server over real sockets of the loopback: what a browser gets, and what attackers do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from pathlib import Path

import pytest

pytest.importorskip('aiohttp', reason='the console needs aiohttp')

import aiohttp
from support.served_console import WAIT_S, Console, cookie_of, raw, served, serving, until

from penguin_ros.web_console.robot import Picture
from penguin_ros.web_console.server import HEADERS, MAX_BROWSERS


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


def test_consoles_of_two_robots_are_open_in_one_browser(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.browser() as session:

            async def use_both(other: Console) -> None:
                # Browsers keep cookies by host, whatever the port.
                await session.get(f'{other.url}/login', params={'token': other.tokens[-1]})
                for each in (console, other):
                    assert (await session.get(f'{each.url}/')).status == 200

            async with serving(tmp_path) as other:
                await use_both(other)

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


def test_a_slow_reader_loses_pictures_is_told_how_many_and_loses_no_words(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        async with console.socket() as socket:
            await socket.send_json({'id': 1, 'do': 'look', 'camera': 'front', 'rate': 30})
            await until(lambda: bool(console.robot.views))
            for number in range(300):
                console.robot.views[0](Picture('', 'front', number, b'x' * 200_000))
                console.hub.publish('caption', '/penguin', {'text': str(number)})
                await asyncio.sleep(0)
            words, pictures, dropped = [], 0, 0
            while len(words) < 300 or pictures + dropped < 300:
                message = await socket.receive(timeout=WAIT_S)
                if message.type is aiohttp.WSMsgType.BINARY:
                    pictures += 1
                    drawn = {'camera': 'front', 'number': struct.unpack('>I', message.data[:4])[0]}
                    await socket.send_json({'id': 2, 'do': 'drawn', **drawn})
                elif (content := json.loads(message.data))['type'] == 'caption':
                    words.append(content['text'])
                else:
                    assert content['type'] == 'dropped'
                    dropped = content['pictures']
            assert words == [str(number) for number in range(300)]
            assert 2 <= pictures < 100 and pictures + dropped == 300
        await until(lambda: not console.robot.views)

    served(tmp_path, use)


def test_the_time_line_is_given_page_by_page(tmp_path: Path) -> None:
    async def use(console: Console) -> None:
        for number in range(100):
            console.hub.publish('caption', '/penguin', {'caption': {'text': f'box {number}'}})
        async with console.browser() as session:
            async with session.ws_connect(f'{console.url}/socket') as socket:
                kinds = [(await console.told(socket))['type'] for _ in range(42)]
                assert kinds == ['hello', *40 * ['caption'], 'line']
                await socket.send_json({'id': 1, 'do': 'entries', 'before': 61, 'words': 'X 4'})
                reply = await console.told(socket)
        texts = [entry['caption']['text'] for entry in reply['entries']]
        assert texts == [*(f'box {n}' for n in range(49, 39, -1)), 'box 4']
        assert reply['has_more'] is False

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
        endless = await raw(console, 'GET / HTTP/1.1\r\n' + 'X-A: b\r\n' * 200_000)
        assert b'200 OK' not in endless
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
