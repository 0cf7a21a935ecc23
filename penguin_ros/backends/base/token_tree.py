# SPDX-License-Identifier: Apache-2.0
"""Several continuations of one slot as the rows of one pass: a tree, in which what they begin with
together stands once, and a mask by which each row sees its own branch alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import Branch

ROOT = -1
"""In place of a row: the last position that the slot holds."""


@dataclass(frozen=True, eq=False)
class RowLayout:
    """How the R rows of a pass follow each other where they do not simply stand in line.

    `parents` (R,): the row before each, ROOT for the slot's end; a parent comes before its
    children. `offsets` (R,): how many positions behind the slot's end each row counts. `sees`
    (R, R) bool: which rows each one sees, its own among them; all see what the slot holds.
    """

    parents: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sees: NDArray[np.bool_]

    @staticmethod
    def of(parents: Sequence[int]) -> RowLayout:
        """Follows the parents up."""
        offsets = np.zeros(len(parents), np.int64)
        sees = np.eye(len(parents), dtype=bool)
        for row, parent in enumerate(parents):
            if parent != ROOT:
                offsets[row] = offsets[parent] + 1
                sees[row] |= sees[parent]
        return RowLayout(np.array(parents, np.int64), offsets, sees)

    def with_last_again(self) -> RowLayout:
        """Returns it with one more row, which stands where the last one does."""
        sees = np.zeros((len(self.sees) + 1,) * 2, bool)
        sees[:-1, :-1] = self.sees
        sees[-1, :-1] = self.sees[-1]
        return RowLayout(
            np.append(self.parents, self.parents[-1]),
            np.append(self.offsets, self.offsets[-1]),
            sees,
        )


class TokenTree:
    """Branches merged from their beginning on; it grows by `add`."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.parents: list[int] = []
        self.wanted: list[int] = []
        """Rows whose logits some branch wants, each once."""

        self._children: dict[tuple[int, int], int] = {}
        self._places: dict[int, int] = {}
        self._of_branches: list[list[int]] = []

    def growth(self, branch: Branch) -> tuple[int, int]:
        """Returns how many rows and how many rows with logits `branch` would add, at most."""
        ids = branch.token_ids.tolist()
        row, shared = ROOT, 0
        for token_id in ids:
            row = self._children.get((row, token_id), ROOT)
            if row == ROOT:
                break
            shared += 1
        return len(ids) - shared, len(branch.logits_indices)

    def add(self, branch: Branch) -> None:
        """Adds the rows that `branch` does not share."""
        rows: list[int] = []
        for token_id in branch.token_ids.tolist():
            parent = rows[-1] if rows else ROOT
            key = (parent, token_id)
            if key not in self._children:
                self._children[key] = len(self.token_ids)
                self.token_ids.append(token_id)
                self.parents.append(parent)
            rows.append(self._children[key])
        wanted = [rows[index] for index in branch.logits_indices]
        for row in wanted:
            if row not in self._places:
                self._places[row] = len(self.wanted)
                self.wanted.append(row)
        self._of_branches.append([self._places[row] for row in wanted])

    def layout(self) -> RowLayout:
        """Returns how its rows follow each other."""
        return RowLayout.of(self.parents)

    def places(self) -> list[list[int]]:
        """Returns for each branch where in `wanted` its rows stand."""
        return self._of_branches


def branch_groups(
    branches: Sequence[Branch], most_rows: int, most_logits: int
) -> Iterator[Sequence[Branch]]:
    """Cuts `branches`, in their order, into groups of at most so many rows of a tree, and rows with
    logits. A branch that is longer by itself is a group of its own.
    """
    tree, start = TokenTree(), 0
    for number, branch in enumerate(branches):
        rows, logits = tree.growth(branch)
        is_full = len(tree.token_ids) + rows > most_rows or len(tree.wanted) + logits > most_logits
        if is_full and number > start:
            yield branches[start:number]
            tree, start = TokenTree(), number
        tree.add(branch)
    if start < len(branches):
        yield branches[start:]
