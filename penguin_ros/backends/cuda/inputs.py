# SPDX-License-Identifier: Apache-2.0
"""What changes from pass to pass, in one small piece of pinned memory that is copied to the device
when a pass begins; and what a pass says, copied back when it ends. The graphs of CUDA know their
addresses only, so a graph serves any position, slot and token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.cuda.buffers import ALIGNMENT
from penguin_ros.kernels.buffers import Buffer

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice

Fields = dict[str, tuple[Any, int]]
NUMBERS = {'fp32': np.float32, 'i64': np.int64, 'i32': np.int32, 'u8': np.uint8}
"""Formats of kernels that the host writes and reads."""


class SharedBlock:
    """Arrays by name, `fields` gives their type and length, in pinned memory and at the same places
    in device memory.
    """

    def __init__(self, device: CudaDevice, fields: Fields) -> None:
        self._device = device
        self._places: dict[str, int] = {}
        self.byte_count = 0
        for name, (dtype, length) in fields.items():
            self._places[name] = self.byte_count
            size = length * np.dtype(dtype).itemsize
            self.byte_count += -(-size // ALIGNMENT) * ALIGNMENT
        self._host = device.allocate_host(self.byte_count)
        self._device_address = device.allocate(self.byte_count)
        self._arrays = {
            name: self._host.bytes[self._places[name] :][: length * np.dtype(dtype).itemsize].view(
                dtype
            )
            for name, (dtype, length) in fields.items()
        }

    @property
    def names(self) -> Sequence[str]:
        """What lies here."""
        return list(self._places)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Returns the host's array."""
        return self._arrays[name]

    def address(self, name: str) -> int:
        """Returns where it lies on the device."""
        return self._device_address + self._places[name]

    def to_device(self, byte_count: int = 0) -> None:
        """Queues a copy of all, or of the first bytes, to the device."""
        size = byte_count or self.byte_count
        self._device.copy(self._device_address, self._host.address, size)

    def to_host(self) -> None:
        """Queues a copy of all from the device."""
        self._device.copy(self._host.address, self._device_address, self.byte_count)


def shared_buffers(device: CudaDevice, buffers: Sequence[Buffer]) -> SharedBlock:
    """Returns a block with these buffers of passes, zeroed on the host and, once it is copied, on
    the device.
    """
    return SharedBlock(device, {each.name: (NUMBERS[each.kind], each.count) for each in buffers})
