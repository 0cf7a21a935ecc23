# SPDX-License-Identifier: Apache-2.0
"""The front door of the memory: a folder that remembers entries, and finds them again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.errors import InvalidRequest, StoreError, UnknownEntry
from penguin_ros.memory.catalogue import Catalogue
from penguin_ros.memory.changes import Changes
from penguin_ros.memory.database import (
    DATABASE,
    FolderLock,
    damaged,
    is_damage,
    make_folder,
    open_reader,
    open_writer,
)
from penguin_ros.memory.embedder import Embedder
from penguin_ros.memory.entry import Entry, Kind, NewEntry, Page
from penguin_ros.memory.filter import MAX_STAMP_NS, Filter, check_filter
from penguin_ros.memory.forgetting import Forgotten
from penguin_ros.memory.limits import KEEP_ALL, StoreLimits
from penguin_ros.memory.meaning import Meaning
from penguin_ros.memory.pictures import Pictures
from penguin_ros.memory.recall import recall
from penguin_ros.memory.retention import MEBIBYTE
from penguin_ros.memory.rows import read_entries
from penguin_ros.memory.space import Space
from penguin_ros.memory.writer import Writer


@dataclass(frozen=True)
class StoreStats:
    """What a store holds and how it is.

    `entries` and `bytes` are by kind; `embedded` entries can be found by meaning; `picture_bytes`
    and `database_bytes` are on the disk. `waiting` entries are not committed yet; `dropped` ones
    never were, for want of room. `errors` counts what failed, by what was tried; `last_error` is
    the newest of them. `note` says what had to be done when the store was opened, `trouble` what
    the disk lacks, for which pictures are left out; both are empty usually.
    """

    entries: dict[str, int]
    bytes: dict[str, int]
    embedded: int
    pictures: int
    picture_bytes: int
    database_bytes: int
    sessions: int
    waiting: int
    dropped: int
    duplicates: int
    cut_texts: int
    errors: dict[str, int]
    last_error: str
    note: str
    trouble: str
    pictures_left_out: int


class Store:
    """One memory. All threads may call it; a thread of its own writes.

    What was added is found once it is committed, within StoreLimits.commit_seconds.
    """

    def __init__(self, folder: Path, limits: StoreLimits, is_read_only: bool) -> None:
        self.folder = folder
        self._catalogue = Catalogue()
        self._pictures = Pictures(folder)
        self._read_lock = threading.Lock()
        self._writer: Writer | None = None
        self._lock: FolderLock | None = None
        self._note = ''
        self._meaning: Meaning | None = None
        if is_read_only:
            self._reader = open_reader(folder)
            self._load()
        else:
            self._open_for_writing(limits)
        self.session = self._last_session()

    @classmethod
    def open(
        cls, folder: Path, limits: StoreLimits | None = None, *, is_read_only: bool = False
    ) -> Store:
        """Opens the store in a folder, which is made where there is none; without `limits` nothing
        leaves for its age or size.

        StoreInUse when another process writes to it, StoreTooNew when a newer version wrote it,
        StoreError or SystemRefusal when it cannot be read or written. With `is_read_only` nothing
        is written, and another process may write meanwhile; what that adds is not seen.
        """
        return cls(Path(folder), limits or KEEP_ALL, is_read_only)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_for_writing(self, limits: StoreLimits) -> None:
        make_folder(self.folder)
        self._lock = FolderLock(self.folder)
        try:
            connection, self._note = open_writer(self.folder)
            self._reader = open_reader(self.folder)
            self._load()
            self._pictures.sweep(connection)
            space = Space(self.folder, limits.min_free_mebibytes * MEBIBYTE)
            self._changes = Changes(connection, self._catalogue, self._pictures, limits, space)
        except BaseException:
            self._lock.close()
            raise
        self._writer = Writer(self._changes, limits.commit_seconds, limits.max_waiting)

    def _load(self) -> None:
        try:
            self._catalogue.load(self._reader)
            self._pictures.count_all(self._reader)
        except sqlite3.DatabaseError as error:
            raise damaged(self.folder, error) from error

    def _last_session(self) -> int:
        query = "SELECT max(id) FROM session WHERE name = ''"
        row = self._reader.execute(query).fetchone()
        if row[0] is None and self._writer:
            return self.begin_session('the first one')
        return int(row[0] or 0)

    def begin_session(self, reason: str) -> int:
        """Begins a session, in which stamps are not comparable with those before, and returns its
        number; entries that are added from now on belong to it. `reason` says why: the clock was
        set back, for example.
        """
        writer = self._written()
        self.session = writer.call(lambda: self._changes.begin_session('', reason))
        return self.session

    def session_named(self, name: str, reason: str) -> int:
        """Returns the session of a name, a new one where there is none; entries that are added
        without naming a session do not belong to it.
        """
        query = 'SELECT id FROM session WHERE name = ?'
        with self._read_lock:
            row = self._reader.execute(query, (name,)).fetchone()
        if row:
            return int(row[0])
        return self._written().call(lambda: self._changes.begin_session(name, reason))

    def add(self, entry: NewEntry, *, is_patient: bool = False, session: int | None = None) -> bool:
        """Remembers an entry, soon, on the writer's thread; returns at once.

        False when too many wait already: the entry is dropped and counted. With `is_patient` it
        waits for room instead. InvalidRequest for values that no entry can have.
        """
        _check_entry(entry)
        number = self.session if session is None else session
        return self._written().add(entry, number, is_patient)

    def flush(self) -> None:
        """Waits until all that was added before is committed, or could not be."""
        self._written().call(lambda: None)

    def recall(self, asked: Filter) -> Page:
        """Returns what fits, best or newest first. InvalidRequest when the filter makes no sense or
        names what is not known; StoreDamaged or StoreError when the store cannot be read.
        """
        try:
            with self._read_lock:
                return recall(self._reader, self._catalogue, self._meaning, asked)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def use_embedder(self, embedder: Embedder) -> None:
        """Lets entries be found by meaning, as soon as this returns for those that were embedded
        by it before, and gradually for the rest.
        """
        if self._writer:
            self._meaning = self._writer.call(lambda: self._changes.use_embedder(embedder))
            return
        row = self._reader.execute('SELECT id FROM name WHERE text = ?', (embedder.id,)).fetchone()
        with self._read_lock:
            meaning = Meaning(self._catalogue, embedder, row[0] if row else -1)
            meaning.load(self._reader)
            self._meaning = meaning

    def entries(self, ids: Sequence[int]) -> list[Entry]:
        """Returns the entries of these ids, in their order; UnknownEntry names one that is not
        stored.
        """
        try:
            with self._read_lock:
                found = read_entries(self._reader, self._catalogue.names, ids)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        missing = [each for each in ids if each not in found]
        if missing:
            raise UnknownEntry(
                f'no entry {missing[0]}', 'it was never stored, or is forgotten', 'Search again'
            )
        return [found[each] for each in ids]

    def picture(self, entry: Entry) -> bytes:
        """Returns an entry's picture, as it was stored. UnknownEntry when it has none, or its file
        is missing or damaged.
        """
        query = 'SELECT file FROM picture WHERE digest = ?'
        with self._read_lock:
            row = self._reader.execute(query, (bytes.fromhex(entry.digest),)).fetchone()
        content = self._pictures.read(row[0]) if row else None
        if content is None:
            why = 'its file is missing or damaged' if entry.digest else 'none was stored with it'
            raise UnknownEntry(f'there is no picture of entry {entry.id}', why)
        return content

    def pin(self, ids: Sequence[int], is_pinned: bool = True) -> None:
        """Keeps entries whatever their age, or lets them go again."""
        self.entries(ids)
        self._written().call(lambda: self._changes.pin(ids, is_pinned))

    def forget(self, asked: Filter) -> Forgotten:
        """Forgets all that fits a filter without words and meaning, pinned or not, so that nothing
        of it is left in the folder; see Forgotten. It rewrites the whole database.
        """
        check_filter(asked)
        if asked.words or asked.meaning or asked.page:
            raise InvalidRequest(
                'forgetting by words',
                'an entry that tells the same in other words would stay',
                'Give an interval, a camera, a node, a place or kinds',
            )
        return self._written().call(lambda: self._changes.forget(asked))

    def newest_ns(self, session: int | None = None) -> int | None:
        """Returns the newest stamp of a session, of the last one by default; None without any."""
        columns = self._catalogue.columns()
        number = self.session if session is None else session
        ends = columns['end_ns'][(columns['session'] == number) & ~columns['is_gone']]
        return int(ends.max()) if len(ends) else None

    def span(self) -> tuple[int | None, int | None]:
        """Returns the oldest and the newest stamp of the last session; None without any."""
        columns = self._catalogue.columns()
        rows = (columns['session'] == self.session) & ~columns['is_gone']
        starts, ends = columns['start_ns'][rows], columns['end_ns'][rows]
        return (int(starts.min()), int(ends.max())) if len(ends) else (None, None)

    def has_vectors(self) -> bool:
        """Returns whether any entry was embedded, by whichever embedder."""
        with self._read_lock:
            return self._reader.execute('SELECT 1 FROM vector LIMIT 1').fetchone() is not None

    def vector_count(self) -> int:
        """Returns how many entries are embedded; it reads all of their vectors."""
        with self._read_lock:
            return int(self._reader.execute('SELECT count(*) FROM vector').fetchone()[0])

    def stats(self) -> StoreStats:
        """Returns what the store holds and how it is."""
        columns = self._catalogue.columns()
        is_there = ~columns['is_gone']
        counts = {kind: (columns['kind'] == int(kind)) & is_there for kind in Kind}
        with self._read_lock:
            sessions = self._reader.execute('SELECT count(*) FROM session').fetchone()[0]
        writer = self._writer
        files = (self.folder / f'{DATABASE}{suffix}' for suffix in ('', '-wal'))
        return StoreStats(
            entries={kind.name.lower(): int(rows.sum()) for kind, rows in counts.items()},
            bytes={
                kind.name.lower(): int(columns['bytes'][rows].sum(dtype='int64'))
                for kind, rows in counts.items()
            },
            embedded=self._catalogue.embedded,
            pictures=self._pictures.count,
            picture_bytes=self._pictures.bytes,
            database_bytes=sum(path.stat().st_size for path in files if path.exists()),
            sessions=sessions,
            waiting=writer.waiting if writer else 0,
            dropped=writer.dropped if writer else 0,
            duplicates=self._changes.inserter.duplicates if writer else 0,
            cut_texts=self._changes.inserter.cut_texts if writer else 0,
            errors=dict(writer.errors) if writer else {},
            last_error=writer.last_error if writer else '',
            note=self._note,
            trouble=self._changes.space.trouble if writer else '',
            pictures_left_out=self._changes.inserter.pictures_left_out if writer else 0,
        )

    def close(self) -> None:
        """Commits what waits, and closes the store; it cannot be used any more."""
        with self._read_lock:
            self._reader.close()  # the last to close, the writer, puts the log into the database
        if self._writer:
            self._writer.close()
        if self._lock:
            self._lock.close()

    def _written(self) -> Writer:
        if self._writer is None:
            raise StoreError(f'the memory in {self.folder} was opened for reading only')
        return self._writer

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        if is_damage(error):
            return damaged(self.folder, error)
        return StoreError(f'the memory in {self.folder} cannot be read', str(error))


def _check_entry(entry: NewEntry) -> None:
    if entry.kind not in tuple(Kind):
        raise InvalidRequest(f'an entry of the kind {entry.kind}', 'there is no such kind')
    if not 0 <= entry.start_ns <= entry.end_ns <= MAX_STAMP_NS:
        raise InvalidRequest(
            f'an entry from {entry.start_ns} to {entry.end_ns} ns',
            'stamps go from 0 to 2^63 - 1, and the end comes after the start',
        )
    pose = entry.pose
    numbers = (pose.x, pose.y, pose.z, pose.qx, pose.qy, pose.qz, pose.qw) if pose else ()
    if any(number - number for number in numbers):  # infinite, or not a number
        raise InvalidRequest(f'the pose {pose}', 'a pose has finite numbers')
