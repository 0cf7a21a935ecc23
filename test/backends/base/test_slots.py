# SPDX-License-Identifier: Apache-2.0
"""Slot numbers and places, in any order of taking and releasing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.backends.base.slots import SlotTable
from penguin_ros.errors import BackendError, NoFreeSlot


@given(choices=st.lists(st.integers(-1, 3), max_size=40))
def test_numbers_are_never_reused_and_places_never_shared(choices: list[int]) -> None:
    table, held, seen = SlotTable(3, 10), list[int](), set[int]()
    for choice in choices:
        if choice < 0 and len(held) < 3:
            number = table.take()
            assert number not in seen
            seen.add(number)
            held.append(number)
        elif choice < 0:
            with pytest.raises(NoFreeSlot):
                table.take()
        elif held:
            table.release(held.pop(choice % len(held)))
        places = [table.index(number) for number in held]
        assert len(set(places)) == len(places) and set(places) <= {0, 1, 2}


def test_the_number_of_another_table_is_refused() -> None:
    first, second = SlotTable(2, 10), SlotTable(2, 10)
    number = first.take()
    second.take()
    with pytest.raises(BackendError, match=f'slot {number} is not in use'):
        second.length(number)
