# SPDX-License-Identifier: Apache-2.0
"""Entries by what they mean: vectors in the database, a short form of each in memory.

A vector is stored as 8-bit numbers; their length does not count. In memory each entry has
SHORT_DIMENSIONS such numbers: where it lies along the directions in which the stored vectors differ
most. A search compares all short forms, and then the vectors of the best POOL of them. While no
more than POOL entries fit, nothing is left to the short forms.

The directions are those of a sample of what is stored; they are found anew when there is four times
as much. A vector says which embedder made it, and only those of the current one are compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.memory.catalogue import Catalogue, Columns, Rows
from penguin_ros.memory.embedder import Embedder, Vectors, unit
from penguin_ros.memory.rows import MAX_VARIABLES

SHORT_DIMENSIONS = 64
POOL = 2000
SAMPLE = 8192
GROWTH = 4
HEADROOM = 1.25
"""How much further than the sample reaches a short form can."""
ROWS_AT_ONCE = 1024
BLOCK_ROWS = 2048
"""Larger blocks leave the processor's cache, and make BLAS use threads, which wait for each other.
"""
FULL_SCALE = 127

Short = NDArray[np.int8]


@dataclass(frozen=True)
class Directions:
    """How a vector becomes its short form: (vector - `mean`) @ `axes` / `steps`. `count` is how
    many vectors there were when they were found.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    steps: NDArray[np.float32]
    count: int

    def short(self, vectors: Vectors) -> Short:
        """Returns the short forms of vectors of length 1."""
        along = (vectors - self.mean) @ self.axes / self.steps
        return np.clip(np.rint(along), -FULL_SCALE, FULL_SCALE).astype(np.int8)

    def weights(self, wanted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns what the product of a short form with it approximates that of the vectors by, but
        for a constant.
        """
        weights: NDArray[np.float32] = (wanted @ self.axes) * self.steps
        return weights


def directions_of(vectors: Vectors, count: int) -> Directions:
    """Returns the directions in which a sample of vectors differs most."""
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = np.ascontiguousarray(axes[:, ::-1][:, :SHORT_DIMENSIONS], np.float32)
    reach = np.abs(centred @ axes).max(axis=0) * HEADROOM
    steps = np.maximum(reach, 1e-6).astype(np.float32) / FULL_SCALE
    return Directions(mean.astype(np.float32), axes, steps, count)


def stored_form(vectors: Vectors) -> list[bytes]:
    """Returns vectors as 8-bit numbers, each scaled to its greatest."""
    peaks = np.abs(vectors).max(axis=1, keepdims=True)
    scaled = vectors / np.where(peaks > 0, peaks, 1) * FULL_SCALE
    return [row.tobytes() for row in np.rint(scaled).astype(np.int8)]


def vectors_of(stored: Sequence[bytes], dimensions: int) -> Vectors:
    """Returns stored vectors with length 1 again."""
    numbers = np.frombuffer(b''.join(stored), np.int8).reshape(-1, dimensions)
    return unit(numbers.astype(np.float32))


class Meaning:
    """The vectors of one embedder over one catalogue. The writer's thread changes it; readers
    search.
    """

    def __init__(self, catalogue: Catalogue, embedder: Embedder, number: int) -> None:
        self.embedder = embedder
        self.number = number
        self._catalogue = catalogue
        self._directions: Directions | None = None
        catalogue.attach(SHORT_DIMENSIONS)

    def load(self, connection: sqlite3.Connection) -> None:
        """Reads all vectors of the embedder into memory, as their short forms."""
        columns = self._catalogue.columns()
        if len(columns) > POOL:
            self._find_directions(connection, columns['id'], len(columns))
        if self._directions is None:
            cursor = connection.execute('SELECT id FROM vector WHERE embedder = ?', (self.number,))
            self._catalogue.mark_embedded(np.array(cursor.fetchall(), np.int64).reshape(-1))

    def add(self, ids: NDArray[np.int64], vectors: Vectors) -> None:
        """Takes vectors of length 1, which are committed."""
        if self._directions:
            self._catalogue.set_short(ids, self._directions.short(vectors))
        self._catalogue.mark_embedded(ids)

    def need_directions(self) -> bool:
        """True when so much has come that the directions are to be found (anew)."""
        count = self._catalogue.embedded
        return count > (GROWTH * self._directions.count if self._directions else POOL)

    def find_directions(self, connection: sqlite3.Connection) -> None:
        """Finds the directions anew, and makes all short forms by them."""
        columns = self._catalogue.columns()
        ids = columns['id'][columns['is_embedded']]
        self._find_directions(connection, ids, len(ids))

    def _find_directions(
        self, connection: sqlite3.Connection, ids: NDArray[np.int64], count: int
    ) -> None:
        """Does so from a sample of these entries, unless too few of them have a vector."""
        sample = ids[np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.intp)]
        _, vectors = self._read(connection, sample)
        if len(vectors) <= min(POOL, len(sample) // 2):
            return
        directions = directions_of(vectors, count)
        self._catalogue.replace_short(
            (some, directions.short(each)) for some, each in self._all_vectors(connection)
        )
        self._directions = directions

    def _all_vectors(
        self, connection: sqlite3.Connection
    ) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        cursor = connection.execute(
            'SELECT id, vector FROM vector WHERE embedder = ? ORDER BY id', (self.number,)
        )
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            ids, stored = zip(*rows, strict=True)
            yield np.array(ids, np.int64), vectors_of(stored, self.embedder.dimensions)

    def _read(
        self, connection: sqlite3.Connection, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Vectors]:
        """Returns the vectors of some entries, with the ids of those that have one."""
        found: list[tuple[int, bytes]] = []
        for begin in range(0, len(ids), MAX_VARIABLES):
            some = ids[begin : begin + MAX_VARIABLES].tolist()
            marks = ', '.join('?' * len(some))
            query = f'SELECT id, vector FROM vector WHERE id IN ({marks}) AND embedder = ?'
            found += connection.execute(query, (*some, self.number)).fetchall()
        if not found:
            return np.zeros(0, np.int64), np.zeros((0, self.embedder.dimensions), np.float32)
        kept, stored = zip(*found, strict=True)
        return np.array(kept, np.int64), vectors_of(stored, self.embedder.dimensions)

    def ranked(
        self,
        connection: sqlite3.Connection,
        columns: Columns,
        rows: Rows | None,
        text: str,
        count: int,
    ) -> tuple[Rows, NDArray[np.float64]]:
        """Returns the `count` rows (of `rows`; None: of all) whose meaning is nearest to that of
        the text, the nearest first, and their cosines with it.
        """
        wanted = self.embedder.embed([text])[0]
        is_embedded = columns['is_embedded']
        rows = np.flatnonzero(is_embedded) if rows is None else rows[is_embedded[rows]]
        if len(rows) > POOL and self._directions:
            scores = _products(columns['short'], rows, self._directions.weights(wanted))
            rows = rows[np.argpartition(scores, len(rows) - POOL)[len(rows) - POOL :]]
        ids, vectors = self._read(connection, columns['id'][np.sort(rows)])
        rows, cosines = columns.rows_of(ids), np.einsum('ij,j->i', vectors, wanted).astype(float)
        order = np.lexsort((-rows, -cosines))[:count]
        return rows[order], cosines[order]


def _products(short: Short, rows: Rows, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the product of each row's short form with the weights, a block after the other."""
    products = np.empty(len(rows), np.float32)
    block = np.empty((BLOCK_ROWS, len(weights)), np.float32)
    is_run = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    for begin in range(0, len(rows), BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, len(rows))
        some = short[rows[begin] : rows[end - 1] + 1] if is_run else short[rows[begin:end]]
        np.copyto(block[: end - begin], some)
        np.dot(block[: end - begin], weights, out=products[begin:end])
    return products
