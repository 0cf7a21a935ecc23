# SPDX-License-Identifier: Apache-2.0
"""Rounding of rows and lengths: nothing is cut off, little is wasted, few differ."""

from __future__ import annotations

import pytest

from penguin_ros.backends.torch.buckets import MAX_ROWS, ROWS, LengthBuckets, row_bucket


@pytest.mark.parametrize('max_length', [64, 1000, 4096, 40960])
def test_a_bucket_holds_its_length_and_few_differ(max_length: int) -> None:
    buckets = LengthBuckets(max_length)
    found = [buckets.of(length) for length in range(1, max_length + 1)]
    assert all(bucket >= length for length, bucket in enumerate(found, 1))
    assert found == sorted(found) and found[-1] == buckets.ceiling < max_length + 16
    assert len(set(found)) <= 16
    assert all(bucket - length < max(256, length / 2) for length, bucket in enumerate(found, 1))
    assert all(bucket % 16 == 0 for bucket in found)


def test_every_number_of_rows_has_a_bucket() -> None:
    assert [row_bucket(rows) for rows in (1, 2, 16, 17, 64, 65, MAX_ROWS)] == [
        1,
        16,
        16,
        64,
        64,
        128,
        MAX_ROWS,
    ]
    assert {row_bucket(rows) for rows in range(1, MAX_ROWS + 1)} == set(ROWS)
