# SPDX-License-Identifier: Apache-2.0
"""One search: checked, split into pages, found, and read."""

from __future__ import annotations

import dataclasses
import sqlite3

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import InvalidRequest
from penguin_ros.memory.catalogue import Catalogue, Columns, Rows, rows_that_fit
from penguin_ros.memory.entry import Hit, Page
from penguin_ros.memory.filter import Filter, check_filter
from penguin_ros.memory.meaning import Meaning
from penguin_ros.memory.paging import PageStart, older, page_start, place_of, token
from penguin_ros.memory.rows import MAX_VARIABLES, read_entries
from penguin_ros.memory.search import POOL, Ranking, fused, reasons, rows_with_words, word_scores


def recall(
    connection: sqlite3.Connection, catalogue: Catalogue, meaning: Meaning | None, asked: Filter
) -> Page:
    """Returns a page of what fits. InvalidRequest when the filter makes no sense, or asks for a
    meaning while nothing can tell it.
    """
    check_filter(asked)
    columns = catalogue.columns()
    start = page_start(asked, int(columns['id'][-1]) if len(columns) else 0)
    columns = columns.until(start.last_id)
    fits = rows_that_fit(columns, catalogue.names, asked)
    if asked.is_ranked:
        ranking = _ranked(connection, columns, fits, meaning, asked)
        rows = ranking.rows[start.offset :]
    else:
        rows = _newest(connection, columns, older(columns, fits, start.after), asked)
        by_words = ('words',) if asked.words else ()
        ranking = Ranking(rows, np.zeros(len(rows)), (by_words,) * len(rows))
    page = _page(connection, catalogue, columns, ranking, asked, start)
    if len(rows) <= asked.limit:
        return page
    next_start = dataclasses.replace(start, offset=start.offset + asked.limit)
    if not asked.is_ranked:
        after = place_of(columns, int(rows[asked.limit - 1]))
        next_start = dataclasses.replace(start, after=after)
    return dataclasses.replace(page, next_page=token(asked, next_start))


def _newest(
    connection: sqlite3.Connection, columns: Columns, fits: Rows | None, asked: Filter
) -> Rows:
    """Returns the newest rows, one more than the limit where there are."""
    count = asked.limit + 1
    if asked.words:
        return rows_with_words(connection, columns, fits, asked.words, count)
    return columns.newest(columns.all_rows() if fits is None else fits, count)


def _ranked(
    connection: sqlite3.Connection,
    columns: Columns,
    fits: Rows | None,
    meaning: Meaning | None,
    asked: Filter,
) -> Ranking:
    if asked.meaning and meaning is None:
        raise InvalidRequest(
            f'meaning: {asked.meaning!r}',
            'nothing is there that tells what words mean',
            "Search by words, or type: pip install 'penguin_ros[meaning]'",
        )
    rankings: dict[str, tuple[Rows, NDArray[np.float64]]] = {}
    if asked.words:
        rankings['words'] = _ranked_by_words(connection, columns, fits, asked.words)
    if asked.meaning and meaning is not None:
        within = fits
        if asked.words and not asked.is_either:
            within = np.sort(rankings['words'][0])
        rankings['meaning'] = meaning.ranked(connection, columns, within, asked.meaning, POOL)
    best, sums = fused(*rankings.values())
    matches: dict[int, tuple[str, ...]] = dict.fromkeys(best.tolist(), ())
    for name, (rows, _) in rankings.items():
        for row in rows.tolist():
            matches[row] += (name,)
    return Ranking(best, sums, tuple(matches.values()))


def _ranked_by_words(
    connection: sqlite3.Connection, columns: Columns, fits: Rows | None, words: str
) -> tuple[Rows, NDArray[np.float64]]:
    rows = rows_with_words(connection, columns, fits, words, POOL)
    return rows, word_scores(_texts(connection, columns['id'][rows].tolist()), words)


def _texts(connection: sqlite3.Connection, ids: list[int]) -> list[str]:
    found: dict[int, str] = {}
    for begin in range(0, len(ids), MAX_VARIABLES):
        some = ids[begin : begin + MAX_VARIABLES]
        marks = ', '.join('?' * len(some))
        query = f"SELECT id, text || ' ' || question FROM content WHERE id IN ({marks})"
        found.update(connection.execute(query, some).fetchall())
    return [found.get(each, '') for each in ids]


def _page(
    connection: sqlite3.Connection,
    catalogue: Catalogue,
    columns: Columns,
    ranking: Ranking,
    asked: Filter,
    start: PageStart,
) -> Page:
    shown = slice(start.offset, start.offset + asked.limit)
    ids = columns['id'][ranking.rows[shown]].tolist()
    entries = read_entries(connection, catalogue.names, ids)
    hits = zip(ids, ranking.scores[shown], ranking.matches[shown], strict=True)
    return Page(
        tuple(
            Hit(entries[number], float(score), reasons(asked, by))
            for number, score, by in hits
            if number in entries
        )
    )
