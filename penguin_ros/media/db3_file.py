# SPDX-License-Identifier: Apache-2.0
"""Reads the messages of an SQLite file of rosbag2, also one that a power cut left: its last writes
then lie in a file beside it, -wal or -journal.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from penguin_ros.media.bag_storage import (
    DAMAGED,
    DamagedBag,
    Lost,
    StoredMessage,
    StoredTopic,
)

MAGIC = b'SQLite format 3\0'
SIDES = ('-wal', '-journal')


class Db3File:
    """An SQLite file of rosbag2; DamagedBag when it is none, or too damaged to name its topics."""

    is_cut = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[int, StoredTopic] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._read_topics()
        except sqlite3.Error as error:
            if not any(Path(f'{path}{side}').exists() for side in SIDES):
                raise _damaged(path, error) from error
            # Reading what lies beside it takes writing, which may not be possible there.
            self._copy()
            try:
                self._read_topics()
            except sqlite3.Error as second:
                raise _damaged(path, second) from second

    def count(self, channel: int) -> int | None:
        """Returns how many messages a topic has; None when that cannot be told."""
        with suppress(sqlite3.Error), closing(self._connected()) as database:
            query = 'SELECT count(*) FROM messages WHERE topic_id = ?'
            return int(database.execute(query, (channel,)).fetchone()[0])
        return None

    def messages(self, topic: str) -> Iterator[StoredMessage | Lost]:
        """Yields the messages of a topic in the order of their times, and what cannot be read."""
        channels = [channel for channel, found in self.topics.items() if found.name == topic]
        with closing(self._connected()) as database:
            places: Sequence[int]
            try:
                places = self._places(database, channels)
            except sqlite3.Error as error:
                yield Lost(DAMAGED, f'SQLite says: {error}')
                places = self._all_places(database)
            for place in places:
                try:
                    row = database.execute(
                        'SELECT topic_id, timestamp, data FROM messages WHERE id = ?', (place,)
                    ).fetchone()
                except sqlite3.Error as error:
                    yield Lost(DAMAGED, f'SQLite says: {error}', 1)
                    continue
                if row is not None and row[0] in channels:
                    yield StoredMessage(self.topics[row[0]], int(row[1]), bytes(row[2] or b''))

    def _read_topics(self) -> None:
        with closing(self._connected()) as database:
            rows = database.execute(
                'SELECT id, name, type, serialization_format FROM topics'
            ).fetchall()
            self.topics = {
                int(number): StoredTopic(str(name), str(kind), str(encoding))
                for number, name, kind, encoding in rows
            }
            times = database.execute('SELECT min(timestamp), max(timestamp) FROM messages')
            self.start_ns, self.end_ns = times.fetchone()

    @staticmethod
    def _places(database: sqlite3.Connection, channels: list[int]) -> list[int]:
        marks = ','.join('?' * len(channels))
        query = f'SELECT id FROM messages WHERE topic_id IN ({marks}) ORDER BY timestamp, id'
        return [int(row[0]) for row in database.execute(query, channels)]

    @staticmethod
    def _all_places(database: sqlite3.Connection) -> range:
        """The numbers of all messages, where the table cannot be searched."""
        with suppress(sqlite3.Error):
            last = database.execute('SELECT max(id) FROM messages').fetchone()[0]
            return range(1, int(last or 0) + 1)
        return range(0)

    def _connected(self) -> sqlite3.Connection:
        path = Path(self._folder.name) / self.path.name if self._folder else self.path.absolute()
        database = sqlite3.connect(f'file:{quote(bytes(path))}?mode=ro', uri=True)
        database.text_factory = lambda raw: raw.decode('utf-8', 'replace')
        return database

    def _copy(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix='penguin_bag_')
        for name in (self.path, *(Path(f'{self.path}{side}') for side in SIDES)):
            if name.exists():
                shutil.copy(name, self._folder.name)
        copy = Path(self._folder.name) / self.path.name
        with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as database:
            database.execute('SELECT count(*) FROM sqlite_master').fetchone()


def _damaged(path: Path, error: sqlite3.Error) -> DamagedBag:
    if 'no such table' in str(error):
        return DamagedBag(
            'it holds no table of topics: the recorder ended before it wrote one, or its file '
            f'{path.name}-wal is not here'
        )
    return DamagedBag(
        f'SQLite says: {error}',
        f'Try: sqlite3 {path} .recover | sqlite3 recovered.db3',
    )
