# SPDX-License-Identifier: Apache-2.0
"""Rotary tables and merge weights of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables

THETA = 1e6


def slowly(row: int, column: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns cos and sin of one patch, from the definition."""
    frequencies = [THETA ** (-2 * index / head_dim) for index in range(head_dim // 2)]
    angles = np.array(
        [row * frequency for frequency in frequencies]
        + [column * frequency for frequency in frequencies]
    )
    sign = np.repeat([-1.0, 1.0], head_dim // 2)
    return np.cos(angles), sign * np.sin(angles)


@pytest.mark.parametrize('rows, columns, merge', [(4, 6, 2), (3, 5, 1), (6, 3, 3)])
def test_patches_carry_row_and_column_in_merge_block_order(
    rows: int, columns: int, merge: int
) -> None:
    cosine, sine = rope_tables(rows, columns, merge, 8, THETA)
    index = 0
    for block_row in range(rows // merge):
        for block_column in range(columns // merge):
            for row in range(block_row * merge, (block_row + 1) * merge):
                for column in range(block_column * merge, (block_column + 1) * merge):
                    expected = slowly(row, column, 8)
                    assert np.allclose(cosine[index], expected[0], atol=1e-6)
                    assert np.allclose(sine[index], expected[1], atol=1e-6)
                    index += 1
    assert cosine.shape == sine.shape == (rows * columns, 8) == (index, 8)
    assert cosine.dtype == sine.dtype == np.float32


def test_tables_are_shared_and_cannot_be_changed() -> None:
    first, second = rope_tables(4, 4, 2, 8, THETA), rope_tables(4, 4, 2, 8, THETA)
    assert first[0] is second[0]
    with pytest.raises(ValueError, match='read-only'):
        first[0][0] = 0


@pytest.mark.parametrize(
    'merge, expected',
    [
        (1, [1.0]),
        (2, [0.25] * 4),
        (3, [0, 0, 0, 0, 1, 0, 0, 0, 0]),
        (4, [0, 0, 0, 0, 0, 0.25, 0.25, 0, 0, 0.25, 0.25, 0, 0, 0, 0, 0]),
    ],
)
def test_merging_takes_what_bilinear_interpolation_would(merge: int, expected: list[float]) -> None:
    assert np.array_equal(merge_weights(merge), np.array(expected, np.float32))
