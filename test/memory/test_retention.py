# SPDX-License-Identifier: Apache-2.0
"""The oldest leave by age and by size, each kind by its own limits; what is pinned stays."""

from __future__ import annotations

import time
from pathlib import Path

from support.memory_entries import caption, filled

from penguin_ros.memory import changes
from penguin_ros.memory.entry import Kind
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.limits import StoreLimits
from penguin_ros.memory.retention import DAY_NS, DOUBT_SECONDS, MEBIBYTE, AgeClock
from penguin_ros.memory.store import Store

NOW_S = 1_800_000_000
HOUR = 3600


def ages(store: Store, kind: Kind) -> list[int]:
    """The ages of what is left of a kind, in hours."""
    hits = store.recall(Filter(kinds=(kind,), limit=10_000, is_newest_first=True)).hits
    return [NOW_S // HOUR - hit.entry.start_ns // (HOUR * 10**9) for hit in hits]


def swept(store: Store) -> None:
    """Lets the store do what it does when it is idle, to the end."""
    store._changes._swept = 0.0
    while store._written().call(store._changes.keep_up):
        pass


def test_age_counts_by_kind_and_pinned_entries_and_simulated_times_stay(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(time, 'time_ns', lambda: NOW_S * 10**9)
    limits = StoreLimits(caption_days=1.0, answer_days=2.0, event_days=0.0, picture_days=0.5)
    with Store.open(tmp_path, limits) as store:
        filled(
            store,
            [
                caption(
                    NOW_S - hours * HOUR,
                    kind=kind,
                    is_pinned=hours == 60,
                    picture=b'\xff\xd8\xff%d' % hours,
                )
                for hours in range(100, 0, -4)
                for kind in Kind
            ]
            + [caption(5, 'simulated')],
        )
        swept(store)
        assert max(ages(store, Kind.ANSWER)[:-1]) == 48 and 60 in ages(store, Kind.ANSWER)
        captions = [age for age in ages(store, Kind.CAPTION) if age < 10_000]
        assert captions == [4, 8, 12, 16, 20, 24, 60]
        assert len(ages(store, Kind.EVENT)) == 25
        shown = [hit.entry for hit in store.recall(Filter(limit=10_000)).hits]
        with_picture = {NOW_S // HOUR - e.start_ns // (HOUR * 10**9) for e in shown if e.digest}
        assert with_picture == {4, 8, 12, 60}
        assert any(entry.text == 'simulated' for entry in shown)


def test_size_counts_by_kind_and_the_oldest_leave_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(changes, 'ROWS_AT_ONCE', 50)
    limits = StoreLimits(caption_mebibytes=1, picture_mebibytes=1)
    with Store.open(tmp_path, limits) as store:
        filled(
            store,
            [
                caption(n, f'{n:04d} ' * 3000, picture=b'\xff\xd8\xff%d' % n + bytes(20_000))
                for n in range(100)
            ],
        )
        store.pin([store.recall(Filter(words='0002')).hits[0].entry.id])
        swept(store)
        stats = store.stats()
        assert 0.9 * MEBIBYTE < stats.bytes['caption'] <= MEBIBYTE
        kept = [hit.entry.text[:4] for hit in store.recall(Filter(limit=100)).hits]
        assert kept[-1] == '0002' and kept[:-1] == [
            f'{n:04d}' for n in range(99, 99 - len(kept) + 1, -1)
        ]
        assert stats.picture_bytes <= MEBIBYTE and stats.pictures < len(kept)
        assert len(list(tmp_path.rglob('*.jpg'))) == stats.pictures


def test_a_clock_that_is_wrong_for_a_while_empties_no_memory() -> None:
    now = [0.0]
    clock = AgeClock(100 * DAY_NS, lambda: now[0])
    assert clock.now(101 * DAY_NS) == 101 * DAY_NS
    assert clock.now(30_000 * DAY_NS) == 101 * DAY_NS
    assert clock.now(102 * DAY_NS) == 102 * DAY_NS
    assert clock.now(200 * DAY_NS) == 102 * DAY_NS
    now[0] = DOUBT_SECONDS + 1
    assert clock.now(200 * DAY_NS) == 200 * DAY_NS
