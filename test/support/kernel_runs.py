# SPDX-License-Identifier: Apache-2.0
"""Kernels by Triton's interpreter, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from penguin_ros.kernels.interpreter import Interpreter
from penguin_ros.kernels.library import triton_folder
from penguin_ros.kernels.packing import PackedMatrix, pack
from penguin_ros.kernels.table import Kernel

needs_triton = pytest.mark.skipif(
    triton_folder() is None, reason='Triton is not installed: ./scripts/setup test'
)

DTYPES = {
    'fp32': 'f4',
    'fp16': 'f2',
    'bf16': 'u2',
    'i64': 'i8',
    'i32': 'i4',
    'u8': 'u1',
    'i8': 'i1',
}


def some_matrix(draw: np.random.Generator, shape: tuple[int, int], bits: int) -> PackedMatrix:
    """A matrix of random integers and scales."""
    half = 1 << (bits - 1)
    values = draw.integers(-half + (bits == 8), half, shape).astype(np.int8)
    scales = draw.uniform(0.01, 0.03, (shape[0], -(-shape[1] // 128))).astype(np.float16)
    return pack(values, scales, bits)


def run(
    interpreter: Interpreter, kernel: Kernel, *values: NDArray[Any] | float, rows: int = 1
) -> list[Any]:
    """Launches a kernel with arrays and numbers; returns them as it left them."""
    interpreter.clear()
    placed = []
    for argument, value in zip(kernel.arguments, values, strict=True):
        if argument.is_pointer:
            assert isinstance(value, np.ndarray) and value.dtype == DTYPES[argument.kind[1:]]
            placed.append(interpreter.place(value))
        else:
            placed.append(value)
    interpreter.launch(kernel, kernel.grid.programs(rows), placed)
    return [
        interpreter.view(place, value.dtype, value.shape).copy()
        if isinstance(value, np.ndarray)
        else value
        for place, value in zip(placed, values, strict=True)
    ]
