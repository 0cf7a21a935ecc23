# SPDX-License-Identifier: Apache-2.0
"""What every backend promises, the same test for each: many continuations of one slot give the
logits that each gives alone, and leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.backend_kinds import (
    CONFIG,
    Kind,
    fresh_logits,
    piece,
    prompt,
    tokens,
)

from penguin_ros.backends.base.backend import Backend, Branch, Chunk
from penguin_ros.errors import BackendError, CacheOverflow

some_examples = settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
few_tokens = st.lists(st.sampled_from((3, 5, 7)), min_size=1, max_size=9)
"""Of three ids, so that many branches begin alike."""

branch_lists = st.lists(
    few_tokens.flatmap(
        lambda ids: st.builds(
            Branch,
            st.just(np.array(ids, np.int64)),
            st.lists(st.integers(-len(ids), len(ids) - 1), max_size=4).map(tuple),
        )
    ),
    max_size=20,
)


def alone(backend: Backend, slot: int, branch: Branch) -> np.ndarray:
    """Returns what a branch gives when it is appended by itself to a copy of the slot."""
    copy = backend.fork(slot, backend.slot_length(slot))
    try:
        return backend.forward(copy, Chunk(branch.token_ids), branch.logits_indices)
    finally:
        backend.free_slot(copy)


def assert_as_alone(kind: Kind, backend: Backend, slot: int, branches: Sequence[Branch]) -> None:
    """All read together equal each read alone, and the slot goes on as if none had been read."""
    length = backend.slot_length(slot)
    together = backend.forward_branches(slot, branches)
    assert backend.slot_length(slot) == length and len(together) == len(branches)
    for logits, branch in zip(together, branches, strict=True):
        expected = alone(backend, slot, branch)
        assert logits.shape == expected.shape and logits.dtype == np.float32
        if len(expected):
            kind.assert_equal(logits, expected)


@some_examples
@given(branches=branch_lists, length=st.integers(0, 31), more=st.integers(1, 9))
def test_each_branch_gives_what_it_gives_alone_and_leaves_nothing_behind(
    kind: Kind, backend: Backend, branches: list[Branch], length: int, more: int
) -> None:
    ids, spans = prompt(backend)
    start, slot = piece(ids, spans, 0, length), backend.new_slot()
    if length:
        backend.forward(slot, start)
    assert_as_alone(kind, backend, slot, branches)
    rest = tokens(more, more)
    after = backend.forward(slot, Chunk(rest), [-1])[0]
    backend.free_slot(slot)
    whole = np.concatenate((start.token_ids, rest))
    kind.assert_equal(after, fresh_logits(backend, whole, *start.spans))


@some_examples
@given(steps=st.lists(st.tuples(st.integers(1, 12), branch_lists), min_size=2, max_size=4))
def test_branches_of_a_slot_that_grows_and_is_cut_again(
    kind: Kind, backend: Backend, steps: list[tuple[int, list[Branch]]]
) -> None:
    slot = backend.new_slot()
    for seed, (count, branches) in enumerate(steps):
        backend.truncate(slot, min(backend.slot_length(slot), 20))
        backend.forward(slot, Chunk(tokens(seed, count)))
        assert_as_alone(kind, backend, slot, branches)
    backend.free_slot(slot)


def test_more_branches_than_a_slot_has_room_for_at_once_are_read_in_several_passes(
    kind: Kind, backend: Backend
) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 50)))
    branches = [Branch(tokens(seed, 3 + seed % 12), (0, -1)) for seed in range(40)]
    assert sum(len(branch.token_ids) for branch in branches) > CONFIG.max_length
    assert_as_alone(kind, backend, slot, branches)


def test_a_branch_may_fill_the_slot_to_its_last_position_and_no_further(
    kind: Kind, backend: Backend
) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 33)))
    fitting = [Branch(tokens(2, 31)), Branch(tokens(3, 30), (-1, 0))]
    assert_as_alone(kind, backend, slot, fitting)
    with pytest.raises(CacheOverflow, match='33 of at most 64'):
        backend.forward_branches(slot, [*fitting, Branch(tokens(4, 32))])
    assert backend.slot_length(slot) == 33
    assert_as_alone(kind, backend, slot, fitting)


@pytest.mark.parametrize(
    ('ids', 'wanted'), [([], ()), ([3, -1], (0,)), ([1 << 40], (0,)), ([3, 4], (2,)), ([3], (-2,))]
)
def test_a_branch_that_is_not_sound_is_refused(
    backend: Backend, ids: list[int], wanted: tuple[int, ...]
) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 5)))
    with pytest.raises(BackendError, match='out of range|token ids'):
        backend.forward_branches(slot, [Branch(np.array(ids, np.int64), wanted)])
    assert backend.slot_length(slot) == 5
