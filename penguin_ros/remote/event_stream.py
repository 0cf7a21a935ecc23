# SPDX-License-Identifier: Apache-2.0
"""Server-sent events, read from bytes as they arrive, cut wherever the network cuts them.

Only data counts: names, ids and comments of events are skipped. What is unfinished when the bytes
end was never an event.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from penguin_ros.remote.failure import ILLEGIBLE, RemoteFailed

MAX_EVENT_BYTES = 1 << 20


class EventStream:
    """The events of one response. Lines end in LF or CR LF."""

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = b''
        self._is_first = True
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yields the data of each event that the chunk completes; RemoteFailed for an event that is
        larger than any answer, or that is no UTF-8.
        """
        lines = (self._rest + chunk).split(b'\n')
        self._rest = lines.pop()
        for line in lines:
            yield from self._line(line.removesuffix(b'\r'))
        self._check(len(self._rest))

    def _line(self, line: bytes) -> Iterator[str]:
        if self._is_first:
            line, self._is_first = line.removeprefix(codecs.BOM_UTF8), False
        if not line:
            data, self._data, self._size = self._data, [], 0
            if data:
                yield _text(b'\n'.join(data))
            return
        name, _, value = line.partition(b':')
        if name == b'data':
            self._data.append(value.removeprefix(b' '))
            self._size += len(value)
            self._check(0)

    def _check(self, more: int) -> None:
        if self._size + more > self._max_bytes:
            raise RemoteFailed(
                ILLEGIBLE, f'the server sent an event of more than {self._max_bytes} bytes'
            )


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RemoteFailed(ILLEGIBLE, 'the server sent an event that is no UTF-8') from None
