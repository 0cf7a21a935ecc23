# SPDX-License-Identifier: Apache-2.0
"""Which entries and pictures have to leave: the oldest of each kind, by age and by size. What is
pinned stays.

Age counts for stamps that are times of day; a simulated time says nothing of it, so what has one
leaves by size only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.catalogue import Columns, Rows
from penguin_ros.memory.entry import Kind
from penguin_ros.memory.limits import StoreLimits

DAY_NS = 86400 * NANOSECONDS
MEBIBYTE = 1 << 20
TIME_OF_DAY_NS = 946_684_800 * NANOSECONDS
"""2000-01-01: no simulation runs that long, and no robot's clock is right before."""
DOUBTED_DAYS = 30
DOUBT_SECONDS = 86400.0


class AgeClock:
    """The time that ages count from. A jump of more than DOUBTED_DAYS is believed only when it has
    lasted for DOUBT_SECONDS of running, so that a clock that is wrong for a while empties no
    memory.
    """

    def __init__(self, believed_ns: int, steady: Callable[[], float]) -> None:
        self.believed_ns = believed_ns
        self._steady = steady
        self._doubted_since: float | None = None

    def now(self, wall_ns: int) -> int:
        """Returns what time it is, by a clock that says `wall_ns`."""
        jump = wall_ns - self.believed_ns
        if self.believed_ns and jump > DOUBTED_DAYS * DAY_NS:
            if self._doubted_since is None:
                self._doubted_since = self._steady()
            if self._steady() - self._doubted_since < DOUBT_SECONDS:
                return self.believed_ns
        self._doubted_since = None
        self.believed_ns = max(wall_ns, 0)
        return self.believed_ns


def leaving(columns: Columns, limits: StoreLimits, now_ns: int) -> NDArray[np.int64]:
    """Returns the ids of the entries that have to leave, the oldest first."""
    rows = [
        _too_many(columns, columns['kind'] == int(kind), days, mebibytes * MEBIBYTE, now_ns)
        for kind, days, mebibytes in (
            (Kind.CAPTION, limits.caption_days, limits.caption_mebibytes),
            (Kind.ANSWER, limits.answer_days, limits.answer_mebibytes),
            (Kind.EVENT, limits.event_days, limits.event_mebibytes),
        )
    ]
    every = np.concatenate(rows)
    found: NDArray[np.int64] = columns['id'][oldest_first(columns, every)]
    return found


def aged(columns: Columns, chosen: NDArray[np.bool_], days: float, now_ns: int) -> Rows:
    """Returns which of the chosen entries are older than so many days (0: none), but for those
    that are pinned.
    """
    if not days:
        return np.zeros(0, np.intp)
    ends = columns['end_ns']
    is_old = (ends >= TIME_OF_DAY_NS) & (ends < now_ns - int(days * DAY_NS))
    return np.flatnonzero(chosen & is_old & ~columns['is_gone'] & ~columns['is_pinned'])


def oldest_first(columns: Columns, rows: Rows) -> Rows:
    """Returns the rows in the order in which they leave."""
    order = np.lexsort((rows, columns['end_ns'][rows], columns['session'][rows]))
    return rows[order]


def _too_many(
    columns: Columns, chosen: NDArray[np.bool_], days: float, max_bytes: int, now_ns: int
) -> Rows:
    old = aged(columns, chosen, days, now_ns)
    rows = np.flatnonzero(chosen & ~columns['is_gone'])
    excess = int(columns['bytes'][rows].sum(dtype=np.int64)) - max_bytes
    if not max_bytes or excess <= 0:
        return old
    candidates = oldest_first(columns, rows[~columns['is_pinned'][rows]])
    sums = np.cumsum(columns['bytes'][candidates].astype(np.int64))
    return np.union1d(old, candidates[: int(np.searchsorted(sums, excess)) + 1])
