# SPDX-License-Identifier: Apache-2.0
"""Boards are told apart by the memory that their kernel counts."""

from __future__ import annotations

import pytest

from penguin_ros.board_memory.board_classes import CLASSES, NOMINAL, class_named, class_of


@pytest.mark.parametrize(
    ('kibibytes', 'gigabytes'),
    [
        (7_802_056, 8),
        (7_620_000, 8),
        (3_900_000, 8),
        (15_655_000, 16),
        (30_700_000, 32),
        (64_350_000, 64),
        (128_900_000, 128),
        (500_000_000, 128),
    ],
)
def test_the_class_follows_the_memory_of_the_kernel(kibibytes: int, gigabytes: int) -> None:
    assert class_of(kibibytes * 1024).gigabytes == gigabytes


def test_every_class_is_its_own_by_name_and_by_memory() -> None:
    for board in CLASSES:
        assert class_named(board.gigabytes) is board is class_of(board.total_bytes)
    assert sorted(NOMINAL) == list(NOMINAL)


def test_larger_boards_get_no_smaller_sizes() -> None:
    for small, large in zip(CLASSES, CLASSES[1:], strict=False):
        for name in ('slots', 'max_length', 'max_rows', 'max_patches'):
            assert getattr(small.sizes, name) <= getattr(large.sizes, name), name
