# SPDX-License-Identifier: Apache-2.0
"""What time, place, camera and the like are searched by: the short columns of all entries, in
memory, about 47 bytes each, and the short forms of their vectors.

The writer's thread alone changes it. Readers take a Columns, whose length never changes: appending
writes behind its end. An entry that is forgotten is marked as gone, and left out when many are.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.memory.filter import Filter, Interval, Place, unknown_name

TYPES: dict[str, type] = {
    'id': np.int64,
    'start_ns': np.int64,
    'end_ns': np.int64,
    'bytes': np.uint32,
    'x': np.float32,
    'y': np.float32,
    'frame': np.int16,
    'session': np.uint16,
    'node': np.uint16,
    'camera': np.uint16,
    'kind': np.uint8,
    'is_pinned': np.bool_,
    'has_picture': np.bool_,
}
QUERY = (
    'SELECT id, start_ns, end_ns, bytes, ifnull(x, 0), ifnull(y, 0), ifnull(frame, -1), session, '
    'node, camera, kind, is_pinned, digest IS NOT NULL FROM entry ORDER BY id'
)
FIRST_ROWS = 4096
GROWTH = 2
"""Memory that is not written to yet takes none of the machine's."""
FEW_GONE = 10_000
NEVER = 2**62
MARKS = {'is_gone': np.bool_, 'is_embedded': np.bool_}
ROWS_AT_ONCE = 10_000

Rows = NDArray[np.intp]
"""Positions in the columns, ascending."""


@dataclass(frozen=True)
class Columns:
    """The columns of TYPES and MARKS, all of one length, in the order of the entries' ids.
    `lateness_ns` is how much earlier than one before it, of its session, an entry may end; NEVER
    when sessions are mixed. `gone` is how many are forgotten.
    """

    arrays: dict[str, NDArray[Any]]
    lateness_ns: int
    gone: int

    def __len__(self) -> int:
        return len(self.arrays['id'])

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def rows_of(self, ids: NDArray[np.int64]) -> Rows:
        """Returns where the ids stand; those that are not there are left out."""
        if not len(self):
            return np.zeros(0, np.intp)
        rows: Rows = np.searchsorted(self['id'], ids).clip(max=len(self) - 1)
        found: Rows = rows[self['id'][rows] == ids]
        return found

    def until(self, last_id: int) -> Columns:
        """Returns the columns of the entries up to an id."""
        count = int(np.searchsorted(self['id'], last_id, 'right'))
        arrays = {name: array[:count] for name, array in self.arrays.items()}
        return Columns(arrays, self.lateness_ns, self.gone)

    def all_rows(self) -> Rows:
        """Returns the rows that are not gone."""
        return np.flatnonzero(~self['is_gone']) if self.gone else np.arange(len(self))

    def newest(self, rows: Rows, count: int) -> Rows:
        """Returns the newest `count` of the rows, newest first: those of the last session first,
        then by their end, then by id.
        """
        if self.lateness_ns and len(rows) > count:
            rows = self._candidates(rows, count)
        elif len(rows) > count:
            rows = rows[-count:]
        order = np.lexsort((rows, self['end_ns'][rows], self['session'][rows]))
        return rows[order[::-1]][:count]

    def _candidates(self, rows: Rows, count: int) -> Rows:
        """Returns rows among which the newest `count` are, without sorting all."""
        taken: list[Rows] = []
        sessions = self['session'][rows]
        for session in sorted(np.unique(sessions), reverse=True):
            own = rows[sessions == session]
            if len(own) > count:
                ends = self['end_ns'][own]
                own = own[ends >= np.partition(ends, len(own) - count)[len(own) - count]]
            taken.append(own)
            count -= len(own)
            if count <= 0:
                break
        return np.sort(np.concatenate(taken))


class Names:
    """Names of nodes, cameras and frames, by number and back."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def add(self, number: int, name: str) -> None:
        """Learns a name."""
        self._numbers[name], self._names[number] = number, name

    def number(self, name: str) -> int | None:
        """Returns the number of a name; None when it is unknown."""
        return self._numbers.get(name)

    def name(self, number: int) -> str:
        """Returns the name of a number."""
        return self._names[number]


class Catalogue:
    """The columns of a store, kept up to date by its writer."""

    def __init__(self) -> None:
        self.names = Names()
        self.embedded = 0
        self._lock = threading.Lock()
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.zeros(0, kind) for name, kind in {**TYPES, **MARKS}.items()
        }
        self._count = 0
        self._gone = 0
        self._lateness_ns = 0
        self._latest = (0, 0)

    def load(self, connection: sqlite3.Connection) -> None:
        """Reads all that is stored."""
        for number, name in connection.execute('SELECT id, text FROM name'):
            self.names.add(number, name)
        self._reserve(connection.execute('SELECT count(*) FROM entry').fetchone()[0])
        cursor = connection.execute(QUERY)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            self.append(rows)

    def columns(self) -> Columns:
        """Returns the columns as they are now."""
        with self._lock:
            arrays = {name: array[: self._count] for name, array in self._arrays.items()}
            return Columns(arrays, self._lateness_ns, self._gone)

    def append(self, rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows, which are values in the order of TYPES with ascending ids."""
        if not rows:
            return
        count = self._count + len(rows)
        self._reserve(count)
        for (name, kind), values in zip(TYPES.items(), zip(*rows, strict=True), strict=True):
            self._arrays[name][self._count : count] = np.array(values, kind)
        lateness_ns = self._lateness(self._count, count)
        with self._lock:
            self._count = count
            self._lateness_ns = max(self._lateness_ns, lateness_ns)

    def _lateness(self, begin: int, end: int) -> int:
        """Returns how late the rows are, and notes the latest session and end."""
        sessions, ends = self._arrays['session'][begin:end], self._arrays['end_ns'][begin:end]
        last, latest = self._latest
        if int(sessions[0]) < last or (np.diff(sessions.astype(np.int32)) < 0).any():
            return NEVER
        lateness = 0
        for session in np.unique(sessions).tolist():
            own = ends[sessions == session]
            before = latest if session == last else 0
            highest = np.maximum(np.maximum.accumulate(own), before)
            lateness = max(lateness, int((highest - own).max()))
            last, latest = session, int(highest[-1])
        self._latest = last, latest
        return lateness

    def remove(self, ids: NDArray[np.int64]) -> None:
        """Marks entries as gone, and leaves them out when there are many."""
        now = self.columns()
        rows = now.rows_of(ids)
        rows = rows[~now['is_gone'][rows]]
        self.embedded -= int(now['is_embedded'][rows].sum())
        now['is_gone'][rows] = True
        with self._lock:
            self._gone += len(rows)
        if self._gone > max(FEW_GONE, self._count // 4):
            kept = self.columns().all_rows()
            arrays = {name: array[kept] for name, array in self.columns().arrays.items()}
            with self._lock:
                self._arrays, self._count, self._gone = arrays, len(kept), 0

    def pin(self, ids: NDArray[np.int64], is_pinned: bool) -> None:
        """Changes which entries are pinned."""
        now = self.columns()
        now['is_pinned'][now.rows_of(ids)] = is_pinned

    def drop_pictures(self, ids: NDArray[np.int64]) -> None:
        """Changes entries so that they have no picture."""
        now = self.columns()
        now['has_picture'][now.rows_of(ids)] = False

    def attach(self, dimensions: int) -> None:
        """Makes room for a short form of each entry's vector, and marks none as embedded."""
        size = len(self._arrays['id'])
        with self._lock:
            self._arrays['short'] = np.zeros((size, dimensions), np.int8)
            self._arrays['is_embedded'] = np.zeros(size, np.bool_)
        self.embedded = 0

    def set_short(self, ids: NDArray[np.int64], short: NDArray[np.int8]) -> None:
        """Sets the short forms of entries."""
        now = self.columns()
        now['short'][now.rows_of(ids)] = short

    def mark_embedded(self, ids: NDArray[np.int64]) -> None:
        """Marks entries as having a vector, and a short form where there is any."""
        now = self.columns()
        rows = now.rows_of(ids)
        self.embedded += len(rows) - int(now['is_embedded'][rows].sum())
        now['is_embedded'][rows] = True

    def replace_short(self, parts: Iterable[tuple[NDArray[np.int64], NDArray[np.int8]]]) -> None:
        """Sets all short forms at once, for those who search meanwhile, and marks their entries."""
        now = self.columns()
        short = np.zeros_like(self._arrays['short'])
        for ids, some in parts:
            short[now.rows_of(ids)] = some
            self.mark_embedded(ids)
        with self._lock:
            self._arrays['short'] = short

    def _reserve(self, count: int) -> None:
        """Makes room, one column after the other, so that only one is there twice."""
        for name, array in self._arrays.items():
            if len(array) < count:
                size = max(count + FIRST_ROWS, len(array) * GROWTH)
                larger = np.zeros((size, *array.shape[1:]), array.dtype)
                larger[: self._count] = array[: self._count]
                self._arrays[name] = larger


def rows_that_fit(columns: Columns, names: Names, asked: Filter) -> Rows | None:
    """Returns the rows that fit all but words and meaning; None when nothing of that kind is asked.
    InvalidRequest for names of which nothing is stored.
    """
    fits: list[NDArray[np.bool_]] = [~columns['is_gone']] if columns.gone else []
    if asked.session is not None:
        fits.append(columns['session'] == asked.session)
    for what, name in (('camera', asked.camera), ('node', asked.node)):
        if name:
            fits.append(columns[what] == _number(columns, names, what, name))
    if asked.kinds:
        fits.append(np.isin(columns['kind'], [int(kind) for kind in asked.kinds]))
    if asked.interval:
        fits.append(_overlaps(columns, asked.interval))
    if asked.place:
        fits.append(_is_near(columns, names, asked.place))
    return np.flatnonzero(np.logical_and.reduce(fits)) if fits else None


def _overlaps(columns: Columns, interval: Interval) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = columns['end_ns'] >= interval.start_ns
    found &= columns['start_ns'] <= interval.end_ns
    return found


def _is_near(columns: Columns, names: Names, place: Place) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = columns['frame'] == _number(columns, names, 'frame', place.frame)
    found &= np.abs(columns['x'] - np.float32(place.x)) <= place.radius
    near = np.flatnonzero(found)
    dx, dy = columns['x'][near] - place.x, columns['y'][near] - place.y
    found[near] = dx * dx + dy * dy <= place.radius * place.radius
    return found


def _number(columns: Columns, names: Names, what: str, name: str) -> int:
    number = names.number(name)
    if number is None or not (columns[what] == number).any():
        stored = [names.name(int(each)) for each in np.unique(columns[what]) if each >= 0]
        raise unknown_name(what, name, stored)
    return number
