# SPDX-License-Identifier: Apache-2.0
"""What every backend promises, the same test for each: slots, truncating, forking, overflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_kinds import (
    CONFIG,
    Kind,
    each_example_takes_new_slots,
    fresh_logits,
    last_logits,
    piece,
    prompt,
    tokens,
)

from penguin_ros.backends.base.backend import Backend, Chunk
from penguin_ros.errors import BackendError, CacheOverflow, NoFreeSlot


@each_example_takes_new_slots
@given(length=st.integers(0, 31), count=st.integers(1, 12))
def test_a_truncated_slot_goes_on_like_a_fresh_one(
    kind: Kind, backend: Backend, length: int, count: int
) -> None:
    ids, spans = prompt(backend)
    other, slot = tokens(length, count), backend.new_slot()
    backend.forward(slot, Chunk(ids, spans))
    backend.truncate(slot, length)
    assert backend.slot_length(slot) == length
    got = last_logits(backend, slot, other)
    backend.free_slot(slot)
    start = piece(ids, spans, 0, length)
    fresh = backend.new_slot()
    kind.assert_equal(
        got, last_logits(backend, fresh, np.concatenate((start.token_ids, other)), *start.spans)
    )
    backend.free_slot(fresh)


def test_a_slot_cannot_be_truncated_to_more_than_it_holds(backend: Backend) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 5)))
    for length in (6, -1):
        with pytest.raises(BackendError, match=f'length {length} .*5 positions'):
            backend.truncate(slot, length)
        with pytest.raises(BackendError, match=f'length {length} .*5 positions'):
            backend.fork(slot, length)
    assert backend.slot_length(slot) == 5


@each_example_takes_new_slots
@given(length=st.integers(0, 31))
def test_a_fork_and_its_source_go_their_own_ways(kind: Kind, backend: Backend, length: int) -> None:
    ids, spans = prompt(backend)
    slot = backend.new_slot()
    backend.forward(slot, Chunk(ids, spans))
    junk = backend.new_slot()  # so that the fork's place does not hold the right values by chance
    backend.forward(junk, Chunk(tokens(99, 64)))
    backend.free_slot(junk)
    fork = backend.fork(slot, length)
    assert (backend.slot_length(slot), backend.slot_length(fork)) == (31, length)
    forked = last_logits(backend, fork, tokens(50, 4))
    straight = last_logits(backend, slot, tokens(60, 4))
    backend.free_slot(slot)
    forked_on = last_logits(backend, fork, tokens(70, 2))
    backend.free_slot(fork)
    start = piece(ids, spans, 0, length)
    branch = np.concatenate((start.token_ids, tokens(50, 4)))
    kind.assert_equal(straight, fresh_logits(backend, np.concatenate((ids, tokens(60, 4))), *spans))
    kind.assert_equal(forked, fresh_logits(backend, branch, *start.spans))
    kind.assert_equal(
        forked_on, fresh_logits(backend, np.concatenate((branch, tokens(70, 2))), *start.spans)
    )


def test_slots_run_out_and_come_back(backend: Backend) -> None:
    slots = [backend.new_slot() for _ in range(3)]
    assert len(set(slots)) == 3
    for call in (backend.new_slot, lambda: backend.fork(slots[0], 0)):
        with pytest.raises(NoFreeSlot, match='all 3 KV slots'):
            call()
    backend.forward(slots[1], Chunk(tokens(1, 9)))
    backend.free_slot(slots[1])
    again = backend.new_slot()
    assert backend.slot_length(again) == 0
    with pytest.raises(NoFreeSlot):
        backend.new_slot()


def test_a_freed_or_invented_slot_is_refused(backend: Backend) -> None:
    freed = backend.new_slot()
    backend.free_slot(freed)
    held = backend.new_slot()
    for slot in (freed, held + 1000, -1):
        calls: list[Callable[[int], object]] = [
            backend.free_slot,
            backend.slot_length,
            lambda number: backend.truncate(number, 0),
            lambda number: backend.fork(number, 0),
            lambda number: backend.forward(number, Chunk(tokens(1, 2))),
        ]
        for call in calls:
            with pytest.raises(BackendError, match=f'slot {slot} is not in use'):
                call(slot)
    assert backend.slot_length(held) == 0


def test_an_overflow_writes_nothing(kind: Kind, backend: Backend) -> None:
    ids, slot = tokens(1, 64), backend.new_slot()
    backend.forward(slot, Chunk(ids[:62]))
    with pytest.raises(CacheOverflow, match='3 positions.*62 of at most 64'):
        backend.forward(slot, Chunk(tokens(2, 3)), [-1])
    assert backend.slot_length(slot) == 62
    full = backend.forward(slot, Chunk(ids[62:]), [-1])[0]
    assert backend.slot_length(slot) == 64
    for call in (backend.forward, backend.forward_greedy):
        with pytest.raises(CacheOverflow):
            call(slot, Chunk(tokens(2, 1)))
    with pytest.raises(CacheOverflow):
        backend.forward_greedy_each(slot, Chunk(tokens(2, 2)), [0, 1])
    backend.free_slot(slot)
    kind.assert_equal(full, fresh_logits(backend, ids))


@pytest.mark.parametrize(('of_three', 'slots'), [(1.0, 3), (0.99, 2), (0.001, 1)])
def test_there_are_as_many_slots_as_their_bytes_allow_one_at_least(
    kind: Kind, backend: Backend, of_three: float, slots: int
) -> None:
    limited = kind.make(
        dataclasses.replace(CONFIG, kv_bytes=round(of_three * 3 * backend.description.slot_bytes))
    )
    assert limited.open().slots == slots
    for _ in range(slots):
        limited.new_slot()
    with pytest.raises(NoFreeSlot):
        limited.new_slot()
    limited.close()
