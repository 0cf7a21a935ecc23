# SPDX-License-Identifier: Apache-2.0
"""Ids and indices of slots, in any order of taking and releasing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.backends.base.slots import SlotTable
from penguin_ros.errors import BackendError, NoFreeSlot


@given(choices=st.lists(st.integers(-1, 3), max_size=40))
def test_ids_are_never_reused_and_indices_never_shared(choices: list[int]) -> None:
    table, held, seen = SlotTable(3, 10), list[int](), set[int]()
    for choice in choices:
        if choice < 0 and len(held) < 3:
            slot_id = table.take()
            assert slot_id not in seen
            seen.add(slot_id)
            held.append(slot_id)
        elif choice < 0:
            with pytest.raises(NoFreeSlot):
                table.take()
        elif held:
            table.release(held.pop(choice % len(held)))
        indices = [table.index(slot_id) for slot_id in held]
        assert len(set(indices)) == len(indices) and set(indices) <= {0, 1, 2}


def test_the_id_of_another_table_is_refused() -> None:
    first, second = SlotTable(2, 10), SlotTable(2, 10)
    slot_id = first.take()
    second.take()
    with pytest.raises(BackendError, match=f'slot {slot_id} is not in use'):
        second.length(slot_id)
