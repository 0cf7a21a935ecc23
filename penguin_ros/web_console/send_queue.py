# SPDX-License-Identifier: Apache-2.0
"""What waits to be sent to one browser: of pictures the newest of each camera, of words all.

A browser that reads slowly loses pictures and is told how many. Words it never loses: when more of
them wait than `max_bytes`, it has stopped reading, and the connection is closed with that reason,
so that the page can say so and connect again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

MAX_BYTES = 8 << 20


class ReaderTooSlow(Exception):
    """More words wait for a browser than are kept."""


@dataclass
class SendQueue:
    """Used by the thread of the loop; `next` is awaited by one sender."""

    max_bytes: int = MAX_BYTES
    pictures_dropped: int = 0
    _texts: deque[str] = field(default_factory=deque)
    _pictures: dict[str, bytes] = field(default_factory=dict)
    _bytes: int = 0
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put_text(self, text: str) -> None:
        """Adds words; ReaderTooSlow when too many wait."""
        if self._bytes + len(text) > self.max_bytes:
            raise ReaderTooSlow(f'{self._bytes} characters of text wait')
        self._texts.append(text)
        self._bytes += len(text)
        self._filled.set()

    def put_picture(self, camera: str, picture: bytes) -> None:
        """Puts the newest picture of a camera in the place of one that still waits."""
        if camera in self._pictures:
            self.pictures_dropped += 1
        self._pictures[camera] = picture
        self._filled.set()

    async def next(self) -> str | bytes:
        """Waits for something to send and returns it: words first."""
        await self._filled.wait()
        if self._texts:
            item: str | bytes = self._texts.popleft()
            self._bytes -= len(item)
        else:
            item = self._pictures.pop(next(iter(self._pictures)))
        if not (self._texts or self._pictures):
            self._filled.clear()
        return item
