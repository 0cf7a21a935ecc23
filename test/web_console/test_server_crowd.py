# SPDX-License-Identifier: Apache-2.0
"""Many at once: two hundred browsers that read beside those who read nothing and those who send
what no browser would. Whoever behaves loses no word.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
from pathlib import Path

import pytest

pytest.importorskip('aiohttp', reason='the console needs aiohttp')
psutil = pytest.importorskip('psutil', reason='psutil counts memory and sockets')

import aiohttp
from support.served_console import WAIT_S, Console, cookie_of, raw, served, until

from penguin_ros.web_console.robot import Picture

pytestmark = pytest.mark.slow

CLIENTS = 200
SLOW = 10
HALF_OPEN = 40
WORDS = 200
JPEG = b'\xff\xd8\xff' + b'x' * 30_000
MOST_BYTES = 400 << 20
"""Clients and server are one process here; the pictures alone would be 1.2 GB if they waited."""

FRAMES = {
    'reserved bits': b'\xf1\x80\x00\x00\x00\x00',
    'not masked': b'\x81\x05hello',
    'an unknown kind': b'\x83\x80\x00\x00\x00\x00',
    'a length of 2^63': b'\x81\xff' + b'\xff' * 8 + b'\x00' * 4,
    'a long ping': b'\x89\xfe\x01\x00' + b'\x00' * 260,
    'a part of nothing': b'\x80\x81\x00\x00\x00\x00x',
    'words that are no UTF-8': b'\x81\x82\x00\x00\x00\x00\xff\xfe',
    'a close of one byte': b'\x88\x81\x00\x00\x00\x00x',
}


def test_two_hundred_browsers_lose_no_word_beside_slow_readers_and_attackers(
    tmp_path: Path,
) -> None:
    async def use(console: Console) -> None:
        process = psutil.Process()
        async with console.browser() as session, contextlib.AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(session.ws_connect(f'{console.url}/socket'))
                for _ in range(CLIENTS)
            ]
            slow = [await upgraded(console, cookie_of(session)) for _ in range(SLOW)]
            idle = [
                await asyncio.open_connection('127.0.0.1', console.port) for _ in range(HALF_OPEN)
            ]
            for _, writer in idle:
                writer.write(b'GET / HTTP/1.1\r\nHo')
            before = process.memory_info().rss
            readers = [asyncio.ensure_future(heard(socket)) for socket in sockets]
            attackers = asyncio.ensure_future(attack(console, cookie_of(session)))
            await until(lambda: len(console.robot.views) == CLIENTS + SLOW)
            for number in range(WORDS):
                for view in console.robot.views:
                    view(Picture('', 'front', number, JPEG))
                console.hub.publish('caption', '/penguin', {'text': str(number)})
                await asyncio.sleep(0.005)
            results = await asyncio.wait_for(asyncio.gather(*readers), 4 * WAIT_S)
            refused = await asyncio.wait_for(attackers, 4 * WAIT_S)
            more_bytes = process.memory_info().rss - before
        assert all(words == [str(number) for number in range(WORDS)] for words, _ in results)
        assert all(pictures >= 1 for _, pictures in results)
        assert more_bytes < MOST_BYTES, f'{more_bytes >> 20} MiB more'
        assert refused == len(FRAMES) + 4
        for _, writer in (*slow, *idle):
            writer.close()
        await until(lambda: not console.robot.views)
        async with console.browser() as session:
            async with session.ws_connect(f'{console.url}/socket') as socket:
                await socket.send_json({'id': 1, 'do': 'ask', 'question': 'still there?'})
                while (await console.told(socket))['type'] != 'done':
                    pass

    started = time.monotonic()
    served(tmp_path, use)
    assert time.monotonic() - started < 8 * WAIT_S


async def heard(socket: aiohttp.ClientWebSocketResponse) -> tuple[list[str], int]:
    """Reads as a browser does, until all words are there; returns them and the pictures."""
    await socket.send_json({'id': 1, 'do': 'look', 'camera': 'front', 'rate': 30})
    words: list[str] = []
    pictures = 0
    while len(words) < WORDS:
        message = await socket.receive(timeout=2 * WAIT_S)
        if message.type is aiohttp.WSMsgType.BINARY:
            pictures += 1
            (number,) = struct.unpack('>I', message.data[:4])
            await socket.send_json({'id': 2, 'do': 'drawn', 'camera': 'front', 'number': number})
        else:
            content = message.json()
            if content['type'] == 'caption':
                words.append(content['text'])
    return words, pictures


async def upgraded(
    console: Console, cookie: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Opens a WebSocket by hand; it asks for pictures and never reads."""
    reader, writer = await asyncio.open_connection('127.0.0.1', console.port, limit=1024)
    writer.write(
        f'GET /socket HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\nOrigin: {console.url}\r\n'
        f'Cookie: {cookie}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'.encode()
    )
    assert b'101' in await asyncio.wait_for(reader.readline(), WAIT_S)
    writer.write(masked(b'{"id": 1, "do": "look", "camera": "front", "rate": 30}'))
    return reader, writer


def masked(text: bytes) -> bytes:
    """Returns a text frame as browsers send it."""
    mask = os.urandom(4)
    return (
        bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))
    )


async def attack(console: Console, cookie: str) -> int:
    """Sends what no browser would; returns how many of these attempts were refused."""
    refused = 0
    for frame in FRAMES.values():
        reader, writer = await upgraded(console, cookie)
        writer.write(frame)
        refused += await ends(reader)
        writer.close()
    flood = 'GET / HTTP/1.1\r\n' + ''.join(f'X-{n}: {"y" * 4000}\r\n' for n in range(2000))
    for request in (flood, 'GET /../../etc/passwd HTTP/1.1', 'GET /%2e%2e/browser.py HTTP/1.1'):
        answer = await raw(console, request, cookie)
        refused += b'200' not in answer.split(b'\r\n')[0]
    reader, writer = await asyncio.open_connection('127.0.0.1', console.port)
    head = f'PUT / HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\nContent-Length: {1 << 30}\r\n\r\n'
    writer.write(head.encode())
    with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
        for _ in range(1024):
            writer.write(b'x' * (1 << 20))
            await asyncio.wait_for(writer.drain(), 2.0)
        return refused
    return refused + 1


async def ends(reader: asyncio.StreamReader) -> bool:
    """Tells whether the server closes the connection."""
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(1 << 16), WAIT_S):
            pass
    return True
