# SPDX-License-Identifier: Apache-2.0
"""Reads the messages of an MCAP file from its beginning on, so that one without index and footer,
as a power cut leaves it, gives everything that is whole.

A file is a row of records: one byte of kind, eight of length, the content. Most lie in chunks,
which are records that hold records, mostly compressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from penguin_ros.media.bag_storage import (
    DAMAGED,
    DamagedBag,
    Lost,
    StoredMessage,
    StoredTopic,
    beginning_of,
    decompressed,
)

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, INDEX, CHUNK_INDEX = 2, 3, 4, 5, 6, 7, 8
STATISTICS, DATA_END, LAST_KIND = 0x0B, 0x0F, 0x7F
CUT_CHUNK = -1
"""Stands for what is left of a chunk at whose end the file is cut off."""

HEAD_BYTES = 9
FOOTER_BYTES = HEAD_BYTES + 20 + len(MAGIC)
LARGEST_RECORD = 2**32


@dataclass(frozen=True)
class _Chunk:
    """A chunk record: its content as it is stored, and what its head says."""

    start_ns: int
    size: int
    checksum: int
    compression: str
    stored: bytes

    def records(self) -> bytes:
        """Returns the records in the chunk; ValueError when it is damaged."""
        content = decompressed(self.stored, self.compression)
        if self.size != len(content):
            raise ValueError(f'a chunk has {len(content)} bytes instead of {self.size}')
        if self.checksum and zlib.crc32(content) != self.checksum:
            raise ValueError('the checksum of a chunk does not fit')
        return content


class McapFile:
    """An MCAP file; DamagedBag when it is none.

    `topics` are those of its messages, by channel; `is_cut` tells that it ends before its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[int, StoredTopic] = {}
        self.is_cut = False
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._schemas: dict[int, tuple[str, str]] = {}
        self._chunk_places: list[int] = []
        self._counts: dict[int, int] = {}
        with path.open('rb') as file:
            self._size = file.seek(0, 2)
            file.seek(0)
            if file.read(len(MAGIC)) != MAGIC:
                raise DamagedBag('it does not begin as an MCAP file does')
            if not self._read_summary(file):
                self.is_cut = True
                self._read_topics(file)

    def count(self, channel: int) -> int | None:
        """Returns how many messages the file says a channel has; None when it does not say."""
        return self._counts.get(channel, 0) if self._counts else None

    def messages(self, topic: str) -> Iterator[StoredMessage | Lost]:
        """Yields the messages of a topic in the order of the file, and what of it is damaged."""
        with self.path.open('rb') as file:
            for kind, content in self._records(file):
                if isinstance(content, Lost):
                    yield content
                elif kind == MESSAGE:
                    yield from self._message(content, topic)
                elif kind in (SCHEMA, CHANNEL):
                    self._learn(kind, content)
                elif kind == CHUNK:
                    yield from self._chunk_messages(file, content, topic)
                elif kind == CUT_CHUNK:
                    yield from self._cut_messages(content, topic)

    # --- records ----------------------------------------------------------------------------------

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, bytes | Lost]]:
        """Yields the records of the data section; after a damaged one, those from the next chunk on
        that the summary knows.
        """
        place = len(MAGIC)
        while True:
            file.seek(place)
            head = file.read(HEAD_BYTES)
            if not head:
                return
            kind, length = struct.unpack('<BQ', head) if len(head) == HEAD_BYTES else (0, 0)
            if kind in (DATA_END, FOOTER):
                return
            is_whole = len(head) == HEAD_BYTES and place + HEAD_BYTES + length <= self._size
            is_known = 0 < kind <= LAST_KIND and length <= LARGEST_RECORD
            if is_whole and is_known:
                wanted = kind in (SCHEMA, CHANNEL, MESSAGE, CHUNK)
                yield kind, file.read(length) if wanted else b''
                place += HEAD_BYTES + length
                continue
            following = [each for each in self._chunk_places if each > place]
            if self.is_cut and kind == CHUNK:
                yield CUT_CHUNK, file.read()
            if not following:
                if not self.is_cut:
                    yield 0, Lost(DAMAGED, f'the file is damaged from byte {place} on')
                return
            yield 0, Lost(DAMAGED, f'the file is damaged at byte {place}')
            place = following[0]

    def _index(self, file: BinaryIO) -> dict[int, list[int]] | None:
        """Reads the index records that follow a chunk: the places of messages in it, by channel;
        None where there are none.
        """
        found: dict[int, list[int]] = {}
        while True:
            head = file.read(HEAD_BYTES)
            if len(head) < HEAD_BYTES or head[0] != INDEX:
                return found or None
            content = file.read(struct.unpack_from('<Q', head, 1)[0])
            try:
                channel, size = struct.unpack_from('<HI', content)
                places = [place for _, place in struct.iter_unpack('<QQ', content[6 : 6 + size])]
            except struct.error:
                return None
            found[channel] = places

    def _chunk_messages(
        self, file: BinaryIO, content: bytes, topic: str
    ) -> Iterator[StoredMessage | Lost]:
        index = self._index(file)
        if index is not None and all(
            channel in self.topics and self.topics[channel].name != topic for channel in index
        ):
            return
        try:
            records = _chunk(content).records()
        except (ValueError, struct.error) as error:
            lost = [
                len(places)
                for channel, places in (index or {}).items()
                if channel not in self.topics or self.topics[channel].name == topic
            ]
            yield Lost(DAMAGED, str(error), sum(lost) if index else None)
            return
        for kind, record in _records_in(records):
            if isinstance(record, Lost):
                yield record
            elif kind == MESSAGE:
                yield from self._message(record, topic)
            elif kind in (SCHEMA, CHANNEL):
                self._learn(kind, record)

    def _cut_messages(self, content: bytes, topic: str) -> Iterator[StoredMessage]:
        """Yields the messages that are whole in a chunk at whose end the file is cut off."""
        for kind, record in _cut_records(content):
            if kind == MESSAGE:
                yield from self._message(record, topic)
            elif kind in (SCHEMA, CHANNEL):
                self._learn(kind, record)

    def _message(self, content: bytes, topic: str) -> Iterator[StoredMessage]:
        if len(content) < 22:
            return
        channel, _, log_ns = struct.unpack_from('<HIQ', content)
        found = self.topics.get(channel)
        if found is not None and found.name == topic:
            yield StoredMessage(found, log_ns, content[22:])

    # --- topics -----------------------------------------------------------------------------------

    def _learn(self, kind: int, content: bytes) -> None:
        """Notes a schema or a channel; one that makes no sense belongs to nobody."""
        try:
            if kind == SCHEMA:
                number = struct.unpack_from('<H', content)[0]
                name, place = _text(content, 2)
                self._schemas[number] = name, _text(content, place)[0]
            else:
                number, schema = struct.unpack_from('<HH', content)
                topic, place = _text(content, 4)
                name, _ = self._schemas.get(schema, ('', ''))
                self.topics[number] = StoredTopic(topic, name, _text(content, place)[0])
        except (struct.error, UnicodeDecodeError):
            return

    def _read_summary(self, file: BinaryIO) -> bool:
        """Reads topics, counts and the places of chunks; False where the file has no end."""
        if self._size < FOOTER_BYTES + len(MAGIC):
            return False
        file.seek(self._size - FOOTER_BYTES)
        footer = file.read(FOOTER_BYTES)
        if not footer.endswith(MAGIC) or footer[0] != FOOTER:
            return False
        start = struct.unpack_from('<Q', footer, HEAD_BYTES)[0]
        if not 0 < start < self._size:
            self._read_topics(file)
            return True
        file.seek(start)
        for kind, content in _records_in(file.read(self._size - FOOTER_BYTES - start)):
            if isinstance(content, Lost):
                self._read_topics(file)
                return True
            self._take_summary(kind, content)
        if not self.topics:
            self._read_topics(file)
        return True

    def _take_summary(self, kind: int, content: bytes) -> None:
        if kind in (SCHEMA, CHANNEL):
            self._learn(kind, content)
        elif kind == CHUNK_INDEX and len(content) >= 24:
            self._chunk_places.append(struct.unpack_from('<Q', content, 16)[0])
            self._chunk_places.sort()
        elif kind == STATISTICS and len(content) >= 46:
            start_ns, end_ns, size = struct.unpack_from('<QQI', content, 26)
            self.start_ns, self.end_ns = start_ns, end_ns
            pairs = content[46 : 46 + size]
            self._counts = dict(struct.iter_unpack('<HQ', pairs[: len(pairs) // 10 * 10]))

    def _read_topics(self, file: BinaryIO) -> None:
        """Reads the whole file for its topics and times, where it has no summary."""
        for kind, content in self._records(file):
            records: list[tuple[int, bytes | Lost]] = [(kind, content)]
            if kind == CHUNK and isinstance(content, bytes):
                try:
                    chunk = _chunk(content)
                    records = list(_records_in(chunk.records()))
                except (ValueError, struct.error):
                    continue
            if kind == CUT_CHUNK and isinstance(content, bytes):
                records = list(_cut_records(content))
            for each, record in records:
                if isinstance(record, Lost):
                    continue
                if each in (SCHEMA, CHANNEL):
                    self._learn(each, record)
                elif each == MESSAGE and len(record) >= 22:
                    self._reach(struct.unpack_from('<Q', record, 6)[0])

    def _reach(self, time_ns: int) -> None:
        self.start_ns = time_ns if self.start_ns is None else min(self.start_ns, time_ns)
        self.end_ns = time_ns if self.end_ns is None else max(self.end_ns, time_ns)


def _chunk(content: bytes, is_cut: bool = False) -> _Chunk:
    start_ns, _, size, checksum = struct.unpack_from('<QQQI', content)
    try:
        compression, place = _text(content, 28)
    except UnicodeDecodeError as error:
        raise ValueError('the head of a chunk is damaged') from error
    length = struct.unpack_from('<Q', content, place)[0]
    stored = content[place + 8 : place + 8 + length]
    if len(stored) < length and not is_cut:
        raise ValueError('a chunk is cut short')
    return _Chunk(start_ns, size, checksum, compression, stored)


def _cut_records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the records that are whole in what is left of a chunk."""
    try:
        chunk = _chunk(content, is_cut=True)
        records = beginning_of(chunk.stored, chunk.compression)
    except (ValueError, struct.error):
        return
    for kind, record in _records_in(records):
        if isinstance(record, bytes):
            yield kind, record


def _records_in(content: bytes) -> Iterator[tuple[int, bytes | Lost]]:
    """Yields the records in memory; Lost where one is cut."""
    place = 0
    while place < len(content):
        if place + HEAD_BYTES > len(content):
            yield 0, Lost(DAMAGED, 'a record in a chunk is cut short')
            return
        kind, length = struct.unpack_from('<BQ', content, place)
        place += HEAD_BYTES
        if place + length > len(content):
            yield 0, Lost(DAMAGED, 'a record in a chunk is cut short')
            return
        yield kind, content[place : place + length]
        place += length


def _text(content: bytes, place: int) -> tuple[str, int]:
    """Reads a text and returns it with the place behind it."""
    length = struct.unpack_from('<I', content, place)[0]
    end = place + 4 + length
    if end > len(content):
        raise struct.error('a text is cut short')
    return content[place + 4 : end].decode(), end
