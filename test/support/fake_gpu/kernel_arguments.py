# SPDX-License-Identifier: Apache-2.0
"""The arguments of a launch as arrays over a FakeGpu's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from support.fake_gpu.memory import FakeGpu, GpuFault

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.kernels.table import Kernel

TYPES: dict[str, Any] = {
    'fp32': np.float32,
    'fp16': np.float16,
    'bf16': np.uint16,  # its bits
    'i64': np.int64,
    'i32': np.int32,
    'u8': np.uint8,
    'i8': np.int8,
}


NUMBER: list[Any] = [np.float32]
"""What numbers are computed in: a yardstick takes float64."""


class LaunchArguments:
    """What one launch was given: numbers by name as attributes, constants too, pointers by
    `array`.
    """

    def __init__(
        self,
        gpu: FakeGpu,
        kernel: Kernel,
        grid: tuple[int, ...],
        values: tuple[int | float, ...],
    ) -> None:
        self.grid = grid
        self._gpu = gpu
        self._kinds = {each.name: each for each in kernel.arguments}
        self._values = dict(zip(self._kinds, values, strict=True))
        self._constants = kernel.constants
        for name, each in self._kinds.items():
            if each.is_aligned and int(self._values[name]) % 16:
                raise GpuFault(f'{kernel.name}: {name} is no multiple of 16')

    def __getattr__(self, name: str) -> Any:
        found = self._values.get(name, self._constants.get(name))
        if found is None:
            raise AttributeError(name)
        return found

    def kind(self, name: str) -> str:
        """Returns the number format behind a pointer."""
        return self._kinds[name].kind.removeprefix('*')

    def array(self, name: str, *shape: int) -> np.ndarray:
        """Returns what a pointer points to; GpuFault when it is less than that."""
        dtype = np.dtype(TYPES[self.kind(name)])
        count = int(np.prod(shape))
        view = self._gpu.view(int(self._values[name]), count * dtype.itemsize)
        return view.view(dtype).reshape(shape)

    def wide(self, name: str, *shape: int) -> np.ndarray:
        """Returns a copy of numbers as NUMBER."""
        return self.widened(name, self.array(name, *shape))

    def widened(self, name: str, stored: np.ndarray) -> np.ndarray:
        """Returns numbers as they are stored behind a pointer as NUMBER."""
        return widened('BF16' if self.kind(name) == 'bf16' else '', stored).astype(NUMBER[0])

    def narrowed(self, name: str, values: np.ndarray) -> np.ndarray:
        """Returns float32 numbers as they are stored behind a pointer."""
        if self.kind(name) == 'bf16':
            return narrowed('BF16', values.astype(np.float32))[1]
        return values.astype(TYPES[self.kind(name)])

    def all(self, name: str) -> np.ndarray:
        """Returns everything from a pointer to the end of its block, flat."""
        size = np.dtype(TYPES[self.kind(name)]).itemsize
        return self.array(name, self._gpu.room(int(self._values[name])) // size)
