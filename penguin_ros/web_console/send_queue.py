# SPDX-License-Identifier: Apache-2.0
"""What waits to be sent to one browser: of pictures the newest of each camera, of words all.

A browser says which picture it has drawn; only `MAX_IN_FLIGHT` of a camera are on their way at a
time, so that what lies between here and the screen is never old. A browser that reads slowly loses
pictures and is told how many. Words it never loses: when more of them wait than `max_bytes`, it has
stopped reading, and the connection is closed with that reason, so that the page can say so and
connect again.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter, deque
from dataclasses import dataclass, field

MAX_BYTES = 8 << 20
MAX_IN_FLIGHT = 2


class ReaderTooSlow(Exception):
    """More words wait for a browser than are kept."""


@dataclass
class SendQueue:
    """Used by the thread of the loop; `next` is awaited by one sender."""

    max_bytes: int = MAX_BYTES
    pictures_dropped: int = 0
    _texts: deque[str] = field(default_factory=deque)
    _pictures: dict[str, bytes] = field(default_factory=dict)
    _sent: Counter[str] = field(default_factory=Counter)
    _drawn: Counter[str] = field(default_factory=Counter)
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

    def note_drawn(self, camera: str, number: int) -> None:
        """Notes that the browser has drawn the picture of that number, and all before it."""
        if self._drawn[camera] < number <= self._sent[camera]:
            self._drawn[camera] = number
            self._filled.set()

    async def next(self) -> str | bytes:
        """Waits for something to send and returns it: words first. A picture has its number in the
        first four bytes.
        """
        while True:
            await self._filled.wait()
            if self._texts:
                text = self._texts.popleft()
                self._bytes -= len(text)
                return text
            for camera in self._pictures:
                if self._sent[camera] - self._drawn[camera] < MAX_IN_FLIGHT:
                    self._sent[camera] += 1
                    number = struct.pack('>I', self._sent[camera])
                    return number + self._pictures.pop(camera)
            self._filled.clear()
