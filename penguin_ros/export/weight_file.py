# SPDX-License-Identifier: Apache-2.0
"""A file of weights that several graphs share, written tensor by tensor. Knows offsets and bytes,
not what they mean.

Values go through a memory map of the file, so what waits for the disk is page cache and never the
memory of this process.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 4096
"""Bytes; a page, so that a runtime can map each tensor where it lies."""

ITEM_BITS = {'float32': 32, 'float16': 16, 'bfloat16': 16, 'int8': 8, 'int4': 4}
STORAGE: dict[str, np.dtype[Any]] = {
    'float32': np.dtype('<f4'),
    'float16': np.dtype('<f2'),
    'bfloat16': np.dtype('<u2'),
    'int8': np.dtype('i1'),
    'int4': np.dtype('u1'),
}
"""How each format lies in numpy: bfloat16 as its bits, int4 as pairs, the first in the low half of
a byte.
"""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: `file` beside the graph, `dtype` one of ITEM_BITS, `length` bytes from
    `offset` on.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


class WeightFile:
    """Appends tensors to `path`; each is placed first and filled afterwards, in whatever pieces its
    values come.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._end = path, _new_file(path), 0
        self._zeros: StoredTensor | None = None

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def place(
        self, name: str, dtype: str, shape: tuple[int, ...]
    ) -> tuple[StoredTensor, NDArray[Any]]:
        """Room for a tensor, and a map of it to be written to: `shape` in the storage type, int4
        with half the last axis.
        """
        length = byte_length(dtype, shape)
        begin = -(-self._end // ALIGNMENT) * ALIGNMENT
        self._end = begin + length
        os.posix_fallocate(
            self._file.fileno(), begin, length
        )  # a full disk is an error here and not a signal later
        stored_shape = (*shape[:-1], shape[-1] // 2) if dtype == 'int4' else shape
        values = np.memmap(self._path, STORAGE[dtype], 'r+', begin, stored_shape)
        return StoredTensor(name, self._path.name, dtype, shape, begin, length), values

    def add(self, name: str, dtype: str, values: NDArray[Any]) -> StoredTensor:
        """A whole small tensor in its storage type."""
        stored, place = self.place(name, dtype, values.shape)
        place[...] = values
        return stored

    def zeros(self, name: str, dtype: str, shape: tuple[int, ...]) -> StoredTensor:
        """A tensor of zeros; all of them share one place in the file, grown to the largest when it
        is at the end.
        """
        length = byte_length(dtype, shape)
        if self._zeros is None or self._zeros.length < length:
            self._zeros, _ = self.place('zeros', 'int8', (length,))
        return StoredTensor(name, self._path.name, dtype, shape, self._zeros.offset, length)


def byte_length(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor; ValueError for an odd number of int4 columns, whose rows would not end on
    a byte.
    """
    if dtype == 'int4' and shape[-1] % 2:
        raise ValueError(f'int4 rows of {shape[-1]} values')
    return math.prod(shape) * ITEM_BITS[dtype] // 8


def _new_file(path: Path) -> BinaryIO:
    return path.open('xb')
