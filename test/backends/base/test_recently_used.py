# SPDX-License-Identifier: Apache-2.0
"""What is kept and what leaves."""

from __future__ import annotations

import pytest

from penguin_ros.backends.base.recently_used import RecentlyUsed


def test_a_value_is_made_once_and_the_least_recently_used_leaves_first() -> None:
    events: list[str] = []
    kept: RecentlyUsed[int, str] = RecentlyUsed(2, lambda value: events.append(f'free {value}'))

    def made(key: int) -> str:
        events.append(f'make {key}')
        return str(key)

    for key in (1, 2, 1, 3):
        assert kept.get(key, lambda wanted=key: made(wanted)) == str(key)
    assert events == ['make 1', 'make 2', 'free 2', 'make 3'], 'freed before another is made'
    assert (list(kept), kept.evicted) == (['1', '3'], 1)


def test_clearing_frees_all_and_counts_nothing() -> None:
    freed: list[str] = []
    kept: RecentlyUsed[str, str] = RecentlyUsed(3, freed.append)
    for key in 'ab':
        kept.get(key, lambda wanted=key: wanted)
    kept.clear()
    assert (freed, len(kept), kept.evicted) == (['a', 'b'], 0, 0)


def test_what_could_not_be_made_is_not_kept() -> None:
    kept: RecentlyUsed[int, int] = RecentlyUsed(1)
    with pytest.raises(ZeroDivisionError):
        kept.get(1, lambda: 1 // 0)
    assert len(kept) == 0 and kept.get(1, lambda: 7) == 7
