# SPDX-License-Identifier: Apache-2.0
"""Everything that changes a store, in transactions; called on the writer's thread only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from penguin_ros.memory.catalogue import Catalogue
from penguin_ros.memory.entry import NewEntry
from penguin_ros.memory.inserter import Inserter
from penguin_ros.memory.pictures import Pictures

ROWS_AT_ONCE = 500


class Changes:
    """The writing connection of a store, and what is kept in step with it."""

    def __init__(
        self, connection: sqlite3.Connection, catalogue: Catalogue, pictures: Pictures
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._pictures = pictures
        self.inserter = Inserter(connection, catalogue.names, pictures)
        self._note_open(True)

    def add(self, batch: Sequence[tuple[NewEntry, int]]) -> None:
        """Adds entries with their sessions, all or none."""
        with self._transaction():
            rows = [self.inserter.add(entry, session, True) for entry, session in batch]
        self._catalogue.append([row for row in rows if row is not None])

    def begin_session(self, name: str, reason: str) -> int:
        """Begins a session; returns its number."""
        with self._transaction():
            query = 'INSERT INTO session(name, reason) VALUES (?, ?)'
            return int(self._connection.execute(query, (name, reason)).lastrowid or 0)

    def pin(self, ids: Sequence[int], is_pinned: bool) -> None:
        """Pins entries, or lets them go."""
        with self._transaction():
            self._connection.executemany(
                'UPDATE entry SET is_pinned = ? WHERE id = ?', [(is_pinned, each) for each in ids]
            )
        self._catalogue.pin(np.array(ids, np.int64), is_pinned)

    def remove(self, ids: Iterable[int]) -> None:
        """Removes entries and what only they refer to."""
        wanted = list(ids)
        for begin in range(0, len(wanted), ROWS_AT_ONCE):
            some = wanted[begin : begin + ROWS_AT_ONCE]
            with self._transaction():
                files = self._remove(some)
            self._catalogue.remove(np.array(some, np.int64))
            self._pictures.remove(files)

    def _remove(self, ids: Sequence[int]) -> list[str]:
        digests = []
        for number in ids:
            query = 'SELECT digest FROM entry WHERE id = ?'
            row = self._connection.execute(query, (number,)).fetchone()
            digests += [row[0]] if row and row[0] else []
            for table in ('entry', 'content', 'vector'):
                self._connection.execute(f'DELETE FROM {table} WHERE id = ?', (number,))
        return self._pictures.release(self._connection, digests)

    def keep_up(self) -> None:
        """Does what is to be done when nothing else is."""

    def close(self) -> None:
        """Closes the connection; the log that SQLite writes ahead is gone then."""
        try:
            self._note_open(False)
        finally:
            self._connection.close()

    def _note_open(self, is_open: bool) -> None:
        with self._transaction():
            self._connection.execute(
                'INSERT INTO fact VALUES (?, ?) '
                'ON CONFLICT(name) DO UPDATE SET value = excluded.value',
                ('open', str(int(is_open))),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute('BEGIN IMMEDIATE')
        try:
            yield
            self._connection.execute('COMMIT')
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._connection.execute('ROLLBACK')
            self.inserter.rolled_back()
            raise
        self.inserter.committed()
