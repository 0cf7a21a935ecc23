# SPDX-License-Identifier: Apache-2.0
"""What a connection may cost before its request is complete: so many bytes, for so long, and not
too many connections at once.

aiohttp bounds the length of a header; older versions, those of Ubuntu among them, bound neither
their number nor the time that they take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

MAX_HEAD = 64 * 1024
HEAD_S = 20.0
MAX_CONNECTIONS = 768
END = b'\r\n\r\n'


class Connections:
    """Makes a guarded protocol for each connection; `make` makes that of aiohttp. Used by the
    thread of the loop.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._guards: dict[Any, Guard] = {}

    def __call__(self) -> asyncio.Protocol:
        inner = self._make()
        guard = Guard(inner, lambda: self._guards.pop(inner, None))
        guard.is_refused = len(self._guards) >= MAX_CONNECTIONS
        self._guards[inner] = guard
        return guard

    def lift(self, inner: Any) -> None:
        """Ends the watch over a connection that became a WebSocket, which has limits of its own."""
        if inner in self._guards:
            self._guards[inner].lift()


class Guard(asyncio.Protocol):
    """Hands everything on, and ends the connection when the head of a request does not end."""

    def __init__(self, inner: Any, on_lost: Callable[[], object]) -> None:
        self.is_refused = False
        self._inner = inner
        self._on_lost = on_lost
        self._is_lifted = False
        self._unfinished = 0
        self._tail = b''
        self._timer: asyncio.TimerHandle | None = None
        self._transport: Any = None

    def lift(self) -> None:
        """Ends the watch."""
        self._is_lifted = True
        self._stop_timer()

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first head."""
        self._transport = transport
        self._inner.connection_made(transport)
        if self.is_refused:
            transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HEAD_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to an unfinished head."""
        if not self._is_lifted and not self._is_within_limits(data):
            self._transport.abort()
            return
        self._inner.data_received(data)

    def _is_within_limits(self, data: bytes) -> bool:
        seen = self._tail + data
        at = seen.rfind(END)
        self._tail = seen[-len(END) + 1 :]
        if at < 0:
            self._unfinished += len(data)
        else:
            self._unfinished = len(seen) - at - len(END)
            self._stop_timer()
        if self._unfinished and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HEAD_S, self._transport.abort)
        return self._unfinished <= MAX_HEAD

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def eof_received(self) -> bool | None:
        """Hands it on."""
        ends: bool | None = self._inner.eof_received()
        return ends

    def connection_lost(self, error: Exception | None) -> None:
        """Hands it on."""
        self._stop_timer()
        self._on_lost()
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """Hands it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hands it on."""
        self._inner.resume_writing()
