# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback that does to a connection what networks do."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

START_SECONDS = 20.0


@dataclass
class Weather:
    """What happens to bytes. `delay_s`: one way, each direction; `loss`: share of pieces that are
    late by `late_s`, as a segment is that TCP has to send again; `is_black_hole`: connections are
    taken and nothing passes; `is_deaf`: what the server says is lost; `reset_after`: bytes of the
    server after which the connection is reset; `is_resetting`: each connection is reset at once.
    """

    delay_s: float = 0.0
    loss: float = 0.0
    late_s: float = 0.2
    is_black_hole: bool = False
    is_deaf: bool = False
    reset_after: int = 0
    is_resetting: bool = False


class TcpProxy:
    """Forwards a port of its own to `target`; `weather` may change at any time."""

    def __init__(self, target: int, seed: int = 7) -> None:
        self.weather = Weather()
        self.connections = 0
        self.port = 0
        self._target = target
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(START_SECONDS)

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}'

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_SECONDS)

    def retarget(self, port: int) -> None:
        self._target = port

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, '127.0.0.1', 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.weather.is_resetting:
            return _reset(writer)
        if self.weather.is_black_hole:
            await self._stop.wait()
            return None
        try:
            there_reader, there_writer = await asyncio.open_connection('127.0.0.1', self._target)
        except OSError:
            return _reset(writer)
        up = asyncio.create_task(self._pass(reader, there_writer, is_server=False))
        down = asyncio.create_task(self._pass(there_reader, writer, is_server=True))
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if self.weather.is_deaf:
            await self._stop.wait()
        for end in (writer, there_writer):
            with suppress(Exception):
                end.close()
        return None

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_server: bool
    ) -> None:
        passed = 0
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                weather = self.weather
                await asyncio.sleep(weather.delay_s)
                if self._random.random() < weather.loss:
                    await asyncio.sleep(weather.late_s)
                if weather.is_black_hole or (weather.is_deaf and is_server):
                    continue
                passed += len(piece)
                is_over = weather.reset_after and passed > weather.reset_after
                if is_server and (weather.is_resetting or is_over):
                    return _reset(writer)
                writer.write(piece)
                await writer.drain()
        return None


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST."""
    sock = writer.get_extra_info('socket')
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    writer.transport.abort()
