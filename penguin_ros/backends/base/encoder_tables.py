# SPDX-License-Identifier: Apache-2.0
"""What the encoder graphs of a bundle take beside pixels: the rotary tables and merge weights of a
frame.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.shapes import inverse_frequencies

Table = NDArray[np.float32]


@lru_cache(maxsize=16)
def rope_tables(
    rows: int, columns: int, merge_size: int, head_dim: int, theta: float
) -> tuple[Table, Table]:
    """Returns cos and sin (rows * columns, head_dim) of every patch of a grid, in merge-block
    order; read-only.

    The first half follows the patch's row, the second its column. In `sin` the first half is
    negated, for x * cos + (x with its halves exchanged) * sin. Two members of a pair turn by
    different angles: this is no rotation, and no rotary operator computes it.
    """
    frequencies = inverse_frequencies(head_dim, theta)
    grids = np.indices((rows, columns), np.float32)
    down, right = (_in_blocks(grid, merge_size)[:, None] * frequencies for grid in grids)
    cosine = np.concatenate((np.cos(down), np.cos(right)), 1)
    sine = np.concatenate((-np.sin(down), np.sin(right)), 1)
    for table in (cosine, sine):
        table.flags.writeable = False
    return cosine, sine


def merge_weights(merge_size: int) -> Table:
    """Returns (merge_size ** 2,), what each patch of a block counts in the block's feature, patches
    in the order of the block.

    It equals bilinear interpolation by 1 / merge_size (align_corners false): the mean of the four
    central patches, or the one in the centre when merge_size is odd.
    """
    weights = np.zeros((merge_size, merge_size), np.float32)
    centre = slice((merge_size - 1) // 2, merge_size // 2 + 1)
    weights[centre, centre] = 1.0
    shares: Table = (weights / weights.sum()).reshape(-1)
    return shares


def _in_blocks(grid: Table, merge_size: int) -> Table:
    """Reorders (rows, columns) to (rows * columns,) by block row, block column, row in the block,
    column in the block.
    """
    rows, columns = grid.shape
    blocks = grid.reshape(rows // merge_size, merge_size, columns // merge_size, merge_size)
    return blocks.transpose(0, 2, 1, 3).reshape(-1)
