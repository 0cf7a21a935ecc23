# SPDX-License-Identifier: Apache-2.0
"""A file of weights that several graphs share, written tensor by tensor.

Values go through a memory map of the file, so what waits for the disk is page cache and never the
memory of this process.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 4096
"""Bytes; a page, so that a runtime can map each tensor where it lies."""

ITEM_BITS = {'float32': 32, 'int32': 32, 'float16': 16, 'bfloat16': 16, 'int8': 8, 'int4': 4}
STORAGE: dict[str, np.dtype[Any]] = {
    'float32': np.dtype('<f4'),
    'int32': np.dtype('<i4'),
    'float16': np.dtype('<f2'),
    'bfloat16': np.dtype('<u2'),
    'int8': np.dtype('i1'),
    'int4': np.dtype('u1'),
}
"""The numpy type of each format: bfloat16 as its bits, int4 as pairs, the first in the low half of
a byte.
"""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: in `file` beside the graph, as `dtype`, one of ITEM_BITS, `length` bytes
    from `offset` on.
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
        self._path = path
        self._file: BinaryIO = path.open('xb')
        self._end = 0
        self._zeros: StoredTensor | None = None

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def place(
        self, name: str, dtype: str, shape: tuple[int, ...]
    ) -> tuple[StoredTensor, NDArray[Any]]:
        """Makes room for a tensor; returns it with a map to be written to: `shape` in the storage
        type, int4 with half the last axis.
        """
        length = byte_length(dtype, shape)
        begin = -(-self._end // ALIGNMENT) * ALIGNMENT
        self._end = begin + length
        # A full disk is an error here and not a signal later.
        os.posix_fallocate(self._file.fileno(), begin, length)
        stored_shape = (*shape[:-1], shape[-1] // 2) if dtype == 'int4' else shape
        values = np.memmap(self._path, STORAGE[dtype], 'r+', begin, stored_shape)
        return StoredTensor(name, self._path.name, dtype, shape, begin, length), values

    def add(self, name: str, dtype: str, values: NDArray[Any]) -> StoredTensor:
        """Writes a whole small tensor, given in its storage type."""
        stored, place = self.place(name, dtype, values.shape)
        place[...] = values
        return stored

    def zeros(self, name: str, dtype: str, shape: tuple[int, ...]) -> StoredTensor:
        """Returns a tensor of zeros; all of them share one place in the file, and a larger one gets
        a new place.
        """
        length = byte_length(dtype, shape)
        if self._zeros is None or self._zeros.length < length:
            self._zeros, _ = self.place('zeros', 'int8', (length,))
        return StoredTensor(name, self._path.name, dtype, shape, self._zeros.offset, length)


def byte_length(dtype: str, shape: tuple[int, ...]) -> int:
    """Returns the bytes of a tensor; ValueError for an odd number of int4 columns, whose rows would
    not end on a byte.
    """
    if dtype == 'int4' and shape[-1] % 2:
        raise ValueError(f'int4 rows of {shape[-1]} values')
    return math.prod(shape) * ITEM_BITS[dtype] // 8
