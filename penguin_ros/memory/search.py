# SPDX-License-Identifier: Apache-2.0
"""Finds entries: which fit is told by the columns in memory and the index of words, and their order
by words, meaning or time.

Of more than POOL entries with the words, the newest POOL are ranked. Where words and meaning both
rank, the two rankings are fused by reciprocal rank.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.catalogue import Columns, Rows
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.words import fts_query

POOL = 256
MAX_LATENESS_NS = 3600 * NANOSECONDS
FIRST_WINDOW = 20_000
WINDOW_GROWTH = 4
FEW_ROWS, ROWS_AT_ONCE = 300, 4000
RANK_OFFSET = 60
"""Of reciprocal rank fusion: how little the first ranks stand out."""
SATURATION, LENGTH_SHARE = 1.2, 0.75
"""k1 and b of BM25."""

FOUND = 'SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid DESC'


@dataclass(frozen=True)
class Ranking:
    """Rows in order, the best first, with their scores, and what each was found by."""

    rows: Rows
    scores: NDArray[np.float64]
    matches: tuple[tuple[str, ...], ...]


def rows_with_words(
    connection: sqlite3.Connection, columns: Columns, fits: Rows | None, words: str, count: int
) -> Rows:
    """Returns the newest `count` rows that hold the words and are in `fits` (None: all), newest
    first.

    Where entries were stored nearly in the order of their time, it stops as soon as there are
    enough. Where not, it looks through a window of the newest that fit, and through larger ones
    while too few are found.
    """
    query = fts_query(words)
    everything = columns.all_rows() if fits is None else fits
    if columns.lateness_ns <= MAX_LATENESS_NS:
        return columns.newest(_found_in(connection, columns, query, everything, count), count)
    window = FIRST_WINDOW
    while True:
        newest = everything if window >= len(everything) else columns.newest(everything, window)
        found = _found_in(connection, columns, query, np.sort(newest), len(newest))
        if len(found) >= count or window >= len(everything):
            return columns.newest(found, count)
        window *= WINDOW_GROWTH


def _found_in(
    connection: sqlite3.Connection, columns: Columns, query: str, rows: Rows, count: int
) -> Rows:
    """Returns which of the rows hold the words, in their order; of more than `count` at least the
    last ones.
    """
    if not len(rows):
        return rows
    wanted = count
    is_wanted = np.zeros(len(columns), bool)
    is_wanted[rows] = True
    first, last = int(columns['id'][rows[0]]), int(columns['id'][rows[-1]])
    found: list[Rows] = []
    for ids in _batches(connection, query, first, last):
        some = columns.rows_of(ids[::-1])
        found.insert(0, some[is_wanted[some]])
        count -= len(found[0])
        if count <= 0 and (not columns.lateness_ns or _is_enough(columns, found, wanted, some)):
            break
    return np.concatenate(found) if found else np.zeros(0, np.intp)


def _is_enough(columns: Columns, found: Sequence[Rows], count: int, seen: Rows) -> bool:
    """Returns whether nothing that was stored before `seen` can be among the newest `count`."""
    if not len(seen):
        return False
    last = columns.newest(np.concatenate(found), count)[-1]
    first = seen[0]
    if columns['session'][first] < columns['session'][last]:
        return True
    return bool(columns['end_ns'][first] + columns.lateness_ns < columns['end_ns'][last])


def _batches(
    connection: sqlite3.Connection, query: str, first: int, last: int
) -> Iterator[NDArray[np.int64]]:
    """Yields the ids of what holds the words, descending, first a few and then more at once."""
    with closing(connection.execute(FOUND, (query, first, last))) as cursor:
        size = FEW_ROWS
        while rows := cursor.fetchmany(size):
            yield np.fromiter((row[0] for row in rows), np.int64, len(rows))
            size = ROWS_AT_ONCE


def word_scores(texts: Sequence[str], words: str) -> NDArray[np.float64]:
    """Returns how well each text fits the words, as BM25 counts occurrences against length. How
    rare a word is does not matter: each of the texts has all of them.
    """
    terms = [term for term in re.findall(r'\w+', words.lower()) if f'-{term}' not in words.lower()]
    lengths = np.array([len(text) for text in texts], np.float64)
    mean = lengths.mean() if len(lengths) else 1.0
    weight = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * lengths / max(mean, 1.0))
    scores = np.zeros(len(texts))
    lowered = [text.lower() for text in texts]
    for term in terms:
        # The index knows words by their stems; their beginning will do for counting.
        stem = term[: max(3, len(term) - 2)]
        counts = np.array([text.count(stem) for text in lowered], np.float64)
        scores += counts * (SATURATION + 1) / (counts + weight)
    return scores


def fused(*rankings: tuple[Rows, NDArray[np.float64]]) -> tuple[Rows, NDArray[np.float64]]:
    """Returns the rows of some rankings, which are rows with their scores, by the sum of their
    reciprocal ranks, the best first, and those sums. Equal scores have one rank.
    """
    rows = np.unique(np.concatenate([some for some, _ in rankings]))
    sums = np.zeros(len(rows))
    for some, scores in rankings:
        ranks = np.searchsorted(np.sort(-scores), -scores)
        sums[np.searchsorted(rows, some)] += 1 / (RANK_OFFSET + 1 + ranks)
    order = np.lexsort((-rows, -sums))
    return rows[order], sums[order]


def reasons(asked: Filter, found_by: tuple[str, ...]) -> tuple[str, ...]:
    """Returns what an entry was found by, rankings first."""
    filters = (
        ('time', asked.interval),
        ('place', asked.place),
        ('camera', asked.camera),
        ('node', asked.node),
        ('kind', asked.kinds),
    )
    return (*found_by, *(name for name, value in filters if value))
