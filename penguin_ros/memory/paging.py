# SPDX-License-Identifier: Apache-2.0
"""Pages of a search: a token that says where the next one begins, and that belongs to its filter.

What is stored after the first page does not shift the others.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from dataclasses import dataclass

from penguin_ros.errors import InvalidRequest
from penguin_ros.memory.catalogue import Columns, Rows
from penguin_ros.memory.filter import Filter


@dataclass(frozen=True)
class PageStart:
    """Where a page begins: entries up to `last_id` count; `offset` of the best were shown before,
    or all that are not older than `after`, which is (session, end, id).
    """

    last_id: int
    offset: int = 0
    after: tuple[int, int, int] | None = None


def token(asked: Filter, start: PageStart) -> str:
    """Returns the start of a page as text."""
    value = [_fingerprint(asked), start.last_id, start.offset, start.after]
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def page_start(asked: Filter, newest_id: int) -> PageStart:
    """Returns where the page asked for begins. InvalidRequest when its token is none of this
    filter's.
    """
    if not asked.page:
        return PageStart(newest_id)
    try:
        mark, last_id, offset, after = json.loads(base64.urlsafe_b64decode(asked.page))
        start = PageStart(int(last_id), int(offset), _three(after) if after else None)
        is_own = mark == _fingerprint(asked) and start.offset >= 0
    except (ValueError, TypeError, binascii.Error):
        is_own = False
    if not is_own:
        raise InvalidRequest(
            'the page is none of this search',
            'a page goes with the filter whose next_page it was',
            'Repeat the search without a page',
        )
    return start


def _three(values: list[int]) -> tuple[int, int, int]:
    session, end_ns, number = values
    return int(session), int(end_ns), int(number)


def _fingerprint(asked: Filter) -> str:
    same = dataclasses.replace(asked, page='', limit=1)
    return hashlib.sha256(repr(same).encode('utf-8', 'replace')).hexdigest()[:12]


def older(columns: Columns, rows: Rows | None, after: tuple[int, int, int] | None) -> Rows | None:
    """Returns which of the rows (None: all) come after the given place, when the newest come
    first.
    """
    if after is None:
        return rows
    rows = columns.all_rows() if rows is None else rows
    session, end_ns, number = after
    sessions, ends = columns['session'][rows], columns['end_ns'][rows]
    is_same = sessions == session
    is_older = (sessions < session) | (is_same & (ends < end_ns))
    is_older |= is_same & (ends == end_ns) & (columns['id'][rows] < number)
    kept: Rows = rows[is_older]
    return kept


def place_of(columns: Columns, row: int) -> tuple[int, int, int]:
    """Returns the place of a row when the newest come first."""
    return int(columns['session'][row]), int(columns['end_ns'][row]), int(columns['id'][row])
