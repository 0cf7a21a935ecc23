# SPDX-License-Identifier: Apache-2.0
"""What time, place, camera and the like are searched by: the short columns of all entries, in
memory, about 47 bytes each.

The writer's thread alone changes it. Readers take a Columns, which never changes: appending writes
behind its end, everything else makes new arrays.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
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
    'frame': np.int32,
    'session': np.uint16,
    'node': np.uint16,
    'camera': np.uint16,
    'kind': np.uint8,
    'is_pinned': np.bool_,
}
QUERY = (
    'SELECT id, start_ns, end_ns, bytes, ifnull(x, 0), ifnull(y, 0), ifnull(frame, -1), session, '
    'node, camera, kind, is_pinned FROM entry ORDER BY id'
)
GROWTH = 1.25
ROWS_AT_ONCE = 10_000

Rows = NDArray[np.intp]
"""Positions in the columns, ascending."""


@dataclass(frozen=True)
class Columns:
    """The columns of TYPES, all of one length, in the order of the entries' ids. `is_in_order` says
    that sessions and ends ascend, too.
    """

    arrays: dict[str, NDArray[Any]]
    is_in_order: bool

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
        return Columns(
            {name: array[:count] for name, array in self.arrays.items()}, self.is_in_order
        )

    def newest(self, rows: Rows, count: int) -> Rows:
        """Returns the newest `count` of the rows, newest first: those of the last session first,
        then by their end, then by id.
        """
        if not self.is_in_order and len(rows) > count:
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
        self._lock = threading.Lock()
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.empty(0, kind) for name, kind in TYPES.items()
        }
        self._count = 0
        self._is_in_order = True

    def load(self, connection: sqlite3.Connection) -> None:
        """Reads all that is stored."""
        for number, name in connection.execute('SELECT id, text FROM name'):
            self.names.add(number, name)
        count = connection.execute('SELECT count(*) FROM entry').fetchone()[0]
        self._reserve(count)
        cursor = connection.execute(QUERY)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            self.append(rows)

    def columns(self) -> Columns:
        """Returns the columns as they are now; they do not change any more."""
        with self._lock:
            arrays = {name: array[: self._count] for name, array in self._arrays.items()}
            return Columns(arrays, self._is_in_order)

    def append(self, rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows, which are values in the order of TYPES with ascending ids."""
        if not rows:
            return
        count = self._count + len(rows)
        self._reserve(count)
        for (name, kind), values in zip(TYPES.items(), zip(*rows, strict=True), strict=True):
            self._arrays[name][self._count : count] = np.array(values, kind)
        begin = max(0, self._count - 1)
        sessions = np.diff(self._arrays['session'][begin:count].astype(np.int32))
        ends = np.diff(self._arrays['end_ns'][begin:count])
        is_in_order = bool(((sessions > 0) | ((sessions == 0) & (ends >= 0))).all())
        with self._lock:
            self._count = count
            self._is_in_order &= is_in_order

    def remove(self, ids: NDArray[np.int64]) -> None:
        """Leaves out entries."""
        now = self.columns()
        kept = np.ones(len(now), bool)
        kept[now.rows_of(ids)] = False
        arrays = {name: now[name][kept] for name in TYPES}
        with self._lock:
            self._arrays, self._count = arrays, int(kept.sum())

    def pin(self, ids: NDArray[np.int64], is_pinned: bool) -> None:
        """Changes which entries are pinned."""
        now = self.columns()
        pinned = now['is_pinned'].copy()
        pinned[now.rows_of(ids)] = is_pinned
        with self._lock:
            self._arrays = {**self._arrays, 'is_pinned': pinned}

    def _reserve(self, count: int) -> None:
        """Makes room, one column after the other, so that only one is there twice."""
        for name, array in self._arrays.items():
            if len(array) < count:
                size = max(count, int(len(array) * GROWTH), 1024)
                larger = np.empty(size, array.dtype)
                larger[: self._count] = array[: self._count]
                self._arrays[name] = larger


def rows_that_fit(columns: Columns, names: Names, asked: Filter) -> Rows | None:
    """Returns the rows that fit all but words and meaning; None when nothing of that kind is asked.
    UnknownCamera or InvalidRequest for names of which nothing is stored.
    """
    fits: list[NDArray[np.bool_]] = []
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
