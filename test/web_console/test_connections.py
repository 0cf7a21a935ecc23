# SPDX-License-Identifier: Apache-2.0
"""What a connection may cost before its request is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from penguin_ros.web_console import connections
from penguin_ros.web_console.connections import MAX_HEAD, Connections

HEAD = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'


class Inner(asyncio.Protocol):
    """Stands for aiohttp's protocol: remembers what it was handed."""

    def __init__(self) -> None:
        self.data = b''

    def data_received(self, data: bytes) -> None:
        self.data += data


class Wire(asyncio.Transport):
    """A transport that can only be ended."""

    is_ended = False

    def abort(self) -> None:
        self.is_ended = True


def opened(made: Connections) -> tuple[asyncio.Protocol, Wire]:
    guard, wire = made(), Wire()
    guard.connection_made(wire)
    return guard, wire


def within_a_loop(use: Callable[[list[Inner], Connections], None]) -> None:
    async def run() -> None:
        inners: list[Inner] = []

        def make() -> Inner:
            inners.append(Inner())
            return inners[-1]

        use(inners, Connections(make))

    asyncio.run(run())


def test_heads_that_end_pass_and_one_that_does_not_ends_the_connection() -> None:
    def use(inners: list[Inner], made: Connections) -> None:
        guard, wire = opened(made)
        for part in (HEAD, HEAD + HEAD[:9], HEAD[9:-2], HEAD[-2:]):
            guard.data_received(part)
        assert inners[0].data == 3 * HEAD and not wire.is_ended
        for _ in range(MAX_HEAD // 1000 + 1):
            guard.data_received(b'X-A: b\r\n' * 125)
        assert wire.is_ended and len(inners[0].data) <= 3 * len(HEAD) + MAX_HEAD

    within_a_loop(use)


def test_a_websocket_is_no_longer_watched() -> None:
    def use(inners: list[Inner], made: Connections) -> None:
        guard, wire = opened(made)
        guard.data_received(HEAD)
        made.lift(inners[0])
        guard.data_received(b'x' * (2 * MAX_HEAD))
        assert not wire.is_ended

    within_a_loop(use)


def test_of_too_many_connections_the_last_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, 'MAX_CONNECTIONS', 2)

    def use(inners: list[Inner], made: Connections) -> None:
        (first, _), (_, kept), (last, refused) = (opened(made) for _ in range(3))
        assert refused.is_ended and not kept.is_ended
        for gone in (first, last):
            gone.connection_lost(None)
        third, again = opened(made)
        third.data_received(HEAD)
        assert not again.is_ended

    within_a_loop(use)


def test_a_head_that_takes_too_long_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, 'HEAD_S', 0.01)

    async def run() -> None:
        made = Connections(Inner)
        (_, silent), (idle, waits), (slow, begins) = (opened(made) for _ in range(3))
        for guard in (idle, slow):
            guard.data_received(HEAD)
        slow.data_received(HEAD[:5])
        end = asyncio.get_running_loop().time() + 30.0
        while not (silent.is_ended and begins.is_ended):
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.01)
        assert not waits.is_ended, 'aiohttp ends what is idle between requests'

    asyncio.run(run())
