# SPDX-License-Identifier: Apache-2.0
"""Pieces of a GPU's memory, and the GPU itself, as values; CUDA is not needed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 256
"""Bytes: what cudaMalloc aligns to, and TensorRT asks of addresses."""


@dataclass(frozen=True)
class Gpu:
    """What an engine depends on: `compute` is the compute capability ('8.7'), `cuda` the version of
    the runtime library, `sm_count` the number of multiprocessors, `total_bytes` its memory, which
    is the machine's where it `is_integrated`.
    """

    name: str
    compute: str
    cuda: str
    is_integrated: bool
    sm_count: int = 0
    total_bytes: int = 0


@dataclass(frozen=True)
class HostBuffer:
    """Pinned host memory that the device reads and writes too: `bytes` for the host, `address` for
    the device.
    """

    bytes: NDArray[np.uint8]
    address: int
    host_address: int

    def view(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns the beginning of the buffer as an array that shares its memory."""
        count = int(np.prod(shape)) * dtype.itemsize
        return self.bytes[:count].view(dtype).reshape(shape)


@dataclass(frozen=True)
class StridedRows:
    """Pieces of memory, the first at `address`, `pitch` bytes from the start of one to the next."""

    address: int
    pitch: int
