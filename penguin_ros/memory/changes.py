# SPDX-License-Identifier: Apache-2.0
"""Everything that changes a store, in transactions; called on the writer's thread only."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.catalogue import Catalogue, Columns, rows_that_fit
from penguin_ros.memory.embedder import Embedder, Vectors
from penguin_ros.memory.entry import NewEntry
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.forgetting import Forgotten, clean
from penguin_ros.memory.inserter import Inserter
from penguin_ros.memory.limits import StoreLimits
from penguin_ros.memory.meaning import Meaning, stored_form
from penguin_ros.memory.pictures import Pictures
from penguin_ros.memory.retention import MEBIBYTE, AgeClock, aged, leaving, oldest_first
from penguin_ros.memory.rows import safe_text
from penguin_ros.memory.space import Space

ROWS_AT_ONCE = 500
PICTURES_AT_ONCE = 100
LEAVING_AT_ONCE = 50
MARGIN_PAGES = 512
MARGIN_SHARE = 8
MOST_LEAVES = 200
SWEEP_SECONDS = 30.0
BELIEF_NS = 3600 * NANOSECONDS


def embedded_text(question: str, text: str) -> str:
    """Returns what of an entry is embedded."""
    return f'{question} {text}' if question else text


class Changes:
    """The writing connection of a store, and what is kept in step with it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalogue: Catalogue,
        pictures: Pictures,
        limits: StoreLimits,
        space: Space,
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._pictures = pictures
        self._limits = limits
        self._swept = 0.0
        self._age_clock = AgeClock(int(self._fact('believed_ns') or 0), time.monotonic)
        self.space = space
        self.inserter = Inserter(connection, catalogue.names, pictures)
        self.meaning: Meaning | None = None
        self._note_open(True)

    def add(self, batch: Sequence[tuple[NewEntry, int]]) -> None:
        """Adds entries with their sessions, all or none."""
        if self.space.is_full:
            self._keep_margin()
        with self._transaction():
            has_room = self.space.has_room_for_pictures
            rows = [self.inserter.add(entry, session, has_room) for entry, session in batch]
            added = {row[0]: entry for row, (entry, _) in zip(rows, batch, strict=True) if row}
            texts = [embedded_text(entry.question, entry.text) for entry in added.values()]
            ids, vectors = self._add_vectors(list(added), texts)
        self._catalogue.append([row for row in rows if row is not None])
        if self.meaning:
            self.meaning.add(ids, vectors)

    def _add_vectors(
        self, numbers: Sequence[int], texts: Sequence[str]
    ) -> tuple[NDArray[np.int64], Vectors]:
        """Adds vectors of entries where there is an embedder, within a transaction."""
        ids = np.array(numbers, np.int64)
        if not self.meaning or not numbers:
            return ids, np.zeros((0, 0), np.float32)
        vectors = self.meaning.embedder.embed([safe_text(text) for text in texts])
        rows = zip(numbers, [self.meaning.number] * len(numbers), stored_form(vectors), strict=True)
        self._connection.executemany('INSERT OR REPLACE INTO vector VALUES (?, ?, ?)', rows)
        return ids, vectors

    def use_embedder(self, embedder: Embedder) -> Meaning:
        """Lets this embedder tell meanings from now on; what another one told is done again when
        nothing else is to do.
        """
        with self._transaction():
            number = self.inserter.number(embedder.id)
        meaning = Meaning(self._catalogue, embedder, number)
        meaning.load(self._connection)
        self.meaning = meaning
        return meaning

    def _embed_some(self) -> bool:
        """Embeds some of the newest entries that have no vector of the embedder; returns whether
        there were any.
        """
        columns = self._catalogue.columns()
        rows = np.flatnonzero(~columns['is_embedded'] & ~columns['is_gone'])[-ROWS_AT_ONCE:]
        if self.meaning is None or not len(rows):
            return False
        numbers = columns['id'][rows].tolist()
        with self._transaction():
            query = 'SELECT question, text FROM content WHERE id = ?'
            found = {each: self._connection.execute(query, (each,)).fetchone() for each in numbers}
            texts = [embedded_text(*(row or ('', ''))) for row in found.values()]
            ids, vectors = self._add_vectors(numbers, texts)
        self.meaning.add(ids, vectors)
        return True

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
            digest = self._digest(number)
            digests += [digest] if digest else []
            for table in ('entry', 'content', 'vector'):
                self._connection.execute(f'DELETE FROM {table} WHERE id = ?', (number,))
        return self._pictures.release(self._connection, digests)

    def _digest(self, number: int) -> bytes | None:
        query = 'SELECT digest FROM entry WHERE id = ?'
        row = self._connection.execute(query, (number,)).fetchone()
        return row[0] if row else None

    def keep_up(self) -> bool:
        """Does some of what is to be done when nothing else is; returns whether there is more."""
        if time.monotonic() - self._swept > SWEEP_SECONDS and self._sweep():
            return True
        if self._embed_some():
            return True
        if self.meaning and self.meaning.need_directions():
            self.meaning.find_directions(self._connection)
        return False

    def _sweep(self) -> bool:
        """Lets some of what is too old or too much leave; returns whether there may be more."""
        believed = self._age_clock.believed_ns
        now_ns = self._age_clock.now(time.time_ns())
        if now_ns - believed > BELIEF_NS:
            self._note_fact('believed_ns', str(now_ns))
        columns = self._catalogue.columns()
        if self.space.look() and self._leave_pictures():
            return True
        ids = leaving(columns, self._limits, now_ns)[:ROWS_AT_ONCE]
        if len(ids):
            self.remove(ids.tolist())
            return True
        if self._drop_old_pictures(columns, now_ns):
            return True
        self._swept = time.monotonic()
        return False

    def _drop_old_pictures(self, columns: Columns, now_ns: int) -> bool:
        excess = self._pictures.bytes - self._limits.picture_mebibytes * MEBIBYTE
        rows = aged(columns, columns['has_picture'], self._limits.picture_days, now_ns)
        if self._limits.picture_mebibytes and excess > 0:
            is_free = columns['has_picture'] & ~columns['is_pinned'] & ~columns['is_gone']
            rows = np.flatnonzero(is_free)
        some = oldest_first(columns, rows)[:PICTURES_AT_ONCE]
        self.drop_pictures(columns['id'][some].tolist())
        return len(some) > 0

    def leave(self) -> bool:
        """Lets the oldest that are not pinned leave, pictures before entries; returns whether there
        were any.
        """
        if self._leave_pictures():
            return True
        columns = self._catalogue.columns()
        rows = np.flatnonzero(~columns['is_pinned'] & ~columns['is_gone'])
        rows = oldest_first(columns, rows)[:LEAVING_AT_ONCE]
        self.remove(columns['id'][rows].tolist())
        return len(rows) > 0

    def _leave_pictures(self) -> bool:
        columns = self._catalogue.columns()
        is_free = ~columns['is_pinned'] & ~columns['is_gone']
        rows = np.flatnonzero(is_free & columns['has_picture'])
        rows = oldest_first(columns, rows)[:PICTURES_AT_ONCE]
        self.drop_pictures(columns['id'][rows].tolist())
        return len(rows) > 0

    def make_room(self) -> bool:
        """The disk took no more: leaves out pictures, then lets the oldest leave; returns whether
        that may have helped.
        """
        if not self.space.refused():
            return True
        self._empty_log()
        return self._keep_margin()

    def _keep_margin(self) -> bool:
        """Lets the oldest leave until the database has free pages for what comes and for the next
        that leave, so that its file need not grow; returns False where nothing could leave.
        """
        pages = self._connection.execute('PRAGMA page_count').fetchone()[0]
        margin = min(MARGIN_PAGES, pages // MARGIN_SHARE)
        for leaves in range(MOST_LEAVES):
            if self._connection.execute('PRAGMA freelist_count').fetchone()[0] >= margin:
                return True
            if not self.leave():
                return leaves > 0
            self._empty_log()
        return True

    def _empty_log(self) -> None:
        with suppress(sqlite3.Error):  # what it needs may come later
            self._connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')

    def drop_pictures(self, ids: Sequence[int]) -> None:
        """Forgets the pictures of entries, which stay."""
        with self._transaction():
            digests = [digest for each in ids if (digest := self._digest(each))]
            self._connection.executemany(
                'UPDATE entry SET digest = NULL WHERE id = ?', [(each,) for each in ids]
            )
            files = self._pictures.release(self._connection, digests)
        self._catalogue.drop_pictures(np.array(ids, np.int64))
        self._pictures.remove(files)

    def forget(self, asked: Filter) -> Forgotten:
        """Forgets all that fits, without a trace; see forgetting.py."""
        columns = self._catalogue.columns()
        fits = rows_that_fit(columns, self._catalogue.names, asked)
        rows = columns.all_rows() if fits is None else fits
        before = sum(1 for _ in self._pictures.files())
        self.remove(columns['id'][rows].tolist())
        remarks = clean(self._connection, self._pictures.folder.parent)
        return Forgotten(len(rows), before - sum(1 for _ in self._pictures.files()), remarks)

    def close(self) -> None:
        """Closes the connection; the log that SQLite writes ahead is gone then."""
        try:
            self._note_open(False)
        finally:
            self._connection.close()

    def _note_open(self, is_open: bool) -> None:
        self._note_fact('open', str(int(is_open)))

    def _note_fact(self, name: str, value: str) -> None:
        query = 'INSERT INTO fact VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = ?'
        with self._transaction():
            self._connection.execute(query, (name, value, value))

    def _fact(self, name: str) -> str:
        row = self._connection.execute('SELECT value FROM fact WHERE name = ?', (name,)).fetchone()
        return str(row[0]) if row else ''

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
            with suppress(sqlite3.Error):
                self._pictures.count_all(self._connection)
            raise
        self.inserter.committed()
