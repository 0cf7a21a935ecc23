# SPDX-License-Identifier: Apache-2.0
"""Safetensors files: the library reads what is written, and what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.safetensors_file import (
    map_tensor,
    narrowed,
    read_headers,
    write_safetensors,
)
from penguin_ros.errors import CheckpointFileCorrupt, CheckpointNotFound


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    values = {'a': np.arange(6, dtype=np.float32).reshape(2, 3), 'b': np.ones(3, np.float16)}
    write_safetensors(tmp_path / 'x', {'a': ('F32', values['a']), 'b': ('F16', values['b'])})
    read = load_file(tmp_path / 'x')
    assert read.keys() == values.keys()
    for name in values:
        np.testing.assert_array_equal(read[name], values[name])


def test_what_the_library_writes_is_mapped(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    save_file({'a': values, 'b': np.ones(1, np.float16)}, tmp_path / 'x', metadata={'k': 'v'})
    headers = read_headers(tmp_path / 'x')
    assert headers.keys() == {'a', 'b'}
    np.testing.assert_array_equal(map_tensor(headers['a']), values)


def test_data_at_an_odd_offset_is_read(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    for padding in range(8):
        raw = header + b' ' * padding
        path = tmp_path / str(padding)
        path.write_bytes(
            len(raw).to_bytes(8, 'little') + raw + np.array([1.5, -2.5], np.float32).tobytes()
        )
        np.testing.assert_array_equal(map_tensor(read_headers(path)['a']), [1.5, -2.5])


def test_narrowing_rounds_half_to_even() -> None:
    values = np.array(
        [1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-16, -3.14159, 0.0, -0.0], np.float32
    )
    dtype, bits = narrowed('BF16', values)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(
        widened, np.array([1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -3.140625, 0.0, -0.0], np.float32)
    )
    assert (dtype, bits.dtype) == ('BF16', np.uint16)


@pytest.mark.parametrize('keep', [0, 1, 7, 8, 9, 100, 5000, 20000, -1, -4096])
def test_a_truncated_file_is_named(folder: Path, keep: int) -> None:
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointFileCorrupt, match='model.safetensors is damaged'):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    'content',
    [
        b'not a safetensors file at all',
        b'\xff' * 64,
        (2**40).to_bytes(8, 'little') + b'{}',
        (2).to_bytes(8, 'little') + b'[]',
        b'\x80\x02}q\x00.' * 10,
    ],
)
def test_another_kind_of_file_is_named(folder: Path, content: bytes) -> None:
    (folder / 'model.safetensors').write_bytes(content)
    with pytest.raises(CheckpointFileCorrupt, match='model.safetensors is damaged'):
        open_checkpoint(folder)


def test_a_file_cut_after_opening_is_named(folder: Path) -> None:
    tensors = open_checkpoint(folder).tensors
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(CheckpointFileCorrupt):
        for name in tensors.names():
            tensors.read(name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match='absent.safetensors is missing'):
        read_headers(tmp_path / 'absent.safetensors')
