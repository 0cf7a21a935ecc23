# SPDX-License-Identifier: Apache-2.0
"""Branches as the rows of one pass, and how many passes they take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from penguin_ros.backends.base import slot_backend
from penguin_ros.backends.base.backend import Backend, Branch, Chunk
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.base.token_tree import ROOT, RowLayout, TokenTree, branch_groups
from penguin_ros.testing.scripted_backend import ScriptedBackend


def branch(*ids: int, wanted: tuple[int, ...] = (-1,)) -> Branch:
    return Branch(np.array(ids, np.int64), wanted)


def tree_of(*branches: Branch) -> TokenTree:
    tree = TokenTree()
    for each in branches:
        tree.add(each)
    return tree


def test_what_branches_begin_with_together_stands_once() -> None:
    tree = tree_of(branch(1, 2, 3), branch(1, 2, 4, wanted=(1, -1)), branch(5), branch(1, 2))
    assert tree.token_ids == [1, 2, 3, 4, 5]
    assert tree.parents == [ROOT, 0, 1, 1, ROOT]
    assert tree.wanted == [2, 1, 3, 4] and tree.places() == [[0], [1, 2], [3], [1]]


def test_a_row_counts_from_the_slot_and_sees_its_own_branch_alone() -> None:
    layout = RowLayout.of([ROOT, 0, 1, 1, ROOT])
    assert layout.offsets.tolist() == [0, 1, 2, 2, 0]
    seen = [np.flatnonzero(row).tolist() for row in layout.sees]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 3], [4]]
    again = layout.with_last_again()
    assert again.offsets.tolist() == [0, 1, 2, 2, 0, 0]
    assert np.flatnonzero(again.sees[-1]).tolist() == [4] and not again.sees[:-1, -1].any()


def test_groups_hold_so_many_rows_and_a_longer_branch_is_alone() -> None:
    asked = [branch(1, 2), branch(1, 3), branch(*range(9)), branch(4), branch(5), branch(6)]
    sizes = [len(group) for group in branch_groups(asked, 3, 9)]
    assert sizes == [2, 1, 3]
    assert [len(group) for group in branch_groups(asked[3:], 3, 2)] == [2, 1]
    assert list(branch_groups([], 3, 3)) == []


class Watched(ScriptedBackend):
    """Notes the rows of each pass over branches, and gives NaN for passes of several branches when
    told so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.is_spoiled = False

    def _append_branches(self, session: object, append: Append) -> np.ndarray:
        self.passes.append(append.num_tokens)
        logits = super()._append_branches(session, append)
        return np.full_like(logits, np.nan) if self.is_spoiled else logits


@pytest.fixture
def backend() -> Iterator[Watched]:
    opened = Watched()
    opened.open()
    yield opened
    opened.close()


FIFTY = [branch(*range(20), 50 + rule, 51 + rule) for rule in range(50)]


def read(backend: Backend) -> list[np.ndarray]:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(np.arange(800) % 400))
    found = backend.forward_branches(slot, FIFTY)
    assert backend.slot_length(slot) == 800
    backend.free_slot(slot)
    return found


def test_fifty_rules_are_one_pass_in_which_their_common_beginning_is_read_once(
    backend: Watched,
) -> None:
    read(backend)
    assert backend.passes == [20 + 50 * 2]


def test_wide_branches_are_as_few_passes_as_rows_allow(
    backend: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = read(backend)
    monkeypatch.setattr('penguin_ros.testing.scripted_backend.BRANCH_ROWS', 60)
    backend.passes.clear()
    for together, expected in zip(read(backend), alone, strict=True):
        assert np.array_equal(together, expected)
    assert backend.passes == [60, 60, 40] and slot_backend.BRANCH_ROWS > 60


def test_a_branch_that_spoils_its_pass_does_not_spoil_the_others(backend: Watched) -> None:
    expected = read(backend)
    backend.is_spoiled = True
    for got, each in zip(read(backend), expected, strict=True):
        assert np.array_equal(got, each)


def test_a_pass_that_fails_leaves_the_slot_as_it_was(backend: Watched) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(np.arange(9)))
    expected = backend.forward_branches(slot, FIFTY[:3])

    def fail(step: str) -> None:
        raise MemoryError(step)

    backend.on_step = fail
    with pytest.raises(MemoryError, match='branches'):
        backend.forward_branches(slot, FIFTY)
    backend.on_step = lambda step: None
    assert backend.slot_length(slot) == 9
    assert np.array_equal(backend.forward_branches(slot, FIFTY[:3]), expected)
