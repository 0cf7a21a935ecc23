# SPDX-License-Identifier: Apache-2.0
"""How frames are cut into cells, each of which is one visual token, and what the cells of a drawn
image show.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penguin_ros.simulation.scene import MAX_THINGS

WIDTH, HEIGHT, CELL = 168, 112, 28


class Grid(NamedTuple):
    """The cells of an image, each of which is one visual token."""

    rows: int
    columns: int

    @property
    def cells(self) -> int:
        """The number of visual tokens of an image."""
        return self.rows * self.columns

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.rows * CELL, self.columns * CELL


KEY, INTERMEDIATE = Grid(HEIGHT // CELL, WIDTH // CELL), Grid(3, 4)
"""The grids of frames by their type, when 24 and 12 tokens are the most (`visual.policy:
fixed`).
"""
GRIDS = KEY, INTERMEDIATE
MIN_CELL_SHARE = 24 / CELL**2
"""The least share of a cell that a thing covers for the cell to show it."""


def cells_of(segment: NDArray[np.int32]) -> NDArray[np.int8]:
    """Returns what the cells of an image show, in all GRIDS one after the other: the index of a
    thing, or -1 for none.
    """
    return np.concatenate([_cells(segment, grid) for grid in GRIDS])


def _cells(segment: NDArray[np.int32], grid: Grid) -> NDArray[np.int8]:
    row, column = (
        np.arange(size) * count // size for size, count in zip(segment.shape, grid, strict=True)
    )
    cell, is_thing = row[:, None] * grid.columns + column, (segment >= 0) & (segment < MAX_THINGS)
    found = np.bincount(
        cell[is_thing] * MAX_THINGS + segment[is_thing], minlength=grid.cells * MAX_THINGS
    )
    counts = found.reshape(grid.cells, MAX_THINGS)
    return np.where(
        counts.max(-1) >= MIN_CELL_SHARE * segment.size / grid.cells, counts.argmax(-1), -1
    ).astype(np.int8)
