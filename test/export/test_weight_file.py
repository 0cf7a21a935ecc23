# SPDX-License-Identifier: Apache-2.0
"""Weight files: where tensors lie, what is in them, and what a full disk does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from penguin_ros.export.weight_file import ALIGNMENT, WeightFile, byte_length


def test_tensors_begin_on_pages_and_hold_what_was_put_in(tmp_path: Path) -> None:
    expected = {}
    with WeightFile(tmp_path / 'w') as file:
        for index, size in enumerate((1, 5000, 3)):
            values = np.random.default_rng(index).standard_normal((size, 2)).astype(np.float32)
            expected[file.add(str(index), 'float32', values)] = values
    raw = (tmp_path / 'w').read_bytes()
    for stored, values in expected.items():
        assert stored.offset % ALIGNMENT == 0 and stored.file == 'w'
        assert raw[stored.offset : stored.offset + stored.length] == values.tobytes()
    assert len({stored.offset for stored in expected}) == 3


def test_a_placed_tensor_is_filled_piece_by_piece(tmp_path: Path) -> None:
    with WeightFile(tmp_path / 'w') as file:
        stored, place = file.place('x', 'int4', (4, 6))
        assert place.shape == (4, 3) and stored.length == 12 and stored.shape == (4, 6)
        place[:, 1:] = 7
        place[:, :1] = 9
    assert (tmp_path / 'w').read_bytes()[stored.offset :] == bytes([9, 7, 7] * 4)


def test_zeros_share_their_place(tmp_path: Path) -> None:
    with WeightFile(tmp_path / 'w') as file:
        first, second = file.zeros('a', 'int4', (8, 64)), file.zeros('b', 'int4', (2, 8))
        file.add('c', 'float32', np.ones(3, np.float32))
        third = file.zeros('d', 'int4', (16, 64))
    raw = (tmp_path / 'w').read_bytes()
    assert first.offset == second.offset != third.offset
    for stored in (first, second, third):
        assert raw[stored.offset : stored.offset + stored.length] == bytes(
            byte_length('int4', stored.shape)
        )


def test_an_odd_number_of_int4_columns_is_refused() -> None:
    with pytest.raises(ValueError, match='int4 rows of 5'):
        byte_length('int4', (2, 5))


def test_a_full_disk_is_an_error_when_the_tensor_is_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with WeightFile(tmp_path / 'w') as file, pytest.raises(OSError, match='No space'):
        file.place('x', 'float32', (4,))


def test_an_existing_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / 'w').write_text('mine')
    with pytest.raises(FileExistsError):
        WeightFile(tmp_path / 'w')
