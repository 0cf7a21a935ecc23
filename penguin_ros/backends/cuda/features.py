# SPDX-License-Identifier: Apache-2.0
"""Visual features in device memory: one block per frame, given back when its handle is dropped."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING

from penguin_ros.backends.base.backend import Features
from penguin_ros.backends.cuda.buffers import ALIGNMENT
from penguin_ros.board_memory.needs import FEATURE_POOL_BYTES

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice

MAX_KEPT_BYTES = FEATURE_POOL_BYTES
"""Bytes of blocks that nobody uses; they are kept because allocating waits for the whole device."""


class DeviceFeatures(Features):
    """The features of one frame: `encoded` (tokens, encoder size) from `address` on, `projected`
    (tokens, hidden size) from `projected_address` on.
    """

    def __init__(
        self, pool: FeaturePool, tokens: int, encoded_bytes: int, projected_bytes: int
    ) -> None:
        self.tokens = tokens
        self.nbytes = encoded_bytes + projected_bytes
        padded = -(-encoded_bytes // ALIGNMENT) * ALIGNMENT
        block = padded + projected_bytes
        self.address = pool.take(block)
        self.projected_address = self.address + padded
        weakref.finalize(self, pool.give_back, self.address, block)


class FeatureBlock:
    """A block of a pool for as long as this is held."""

    def __init__(self, pool: FeaturePool, byte_count: int) -> None:
        self.address = pool.take(byte_count)
        weakref.finalize(self, pool.give_back, self.address, byte_count)


class FeaturePool:
    """Blocks of device memory. Handles may be dropped on any thread; memory is taken and freed on
    the backend's thread only.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._returned: deque[tuple[int, int]] = deque()
        self._kept: list[tuple[int, int]] = []

    def take(self, byte_count: int) -> int:
        """Returns the address of `byte_count` bytes: a block of that size that came back, or a new
        one.
        """
        self._collect()
        for index, (address, size) in enumerate(self._kept):
            if size == byte_count:
                del self._kept[index]
                return address
        return self._device.allocate(byte_count)

    def block(self, byte_count: int) -> FeatureBlock:
        """Returns a block that comes back when nobody holds it."""
        return FeatureBlock(self, byte_count)

    def give_back(self, address: int, byte_count: int) -> None:
        """Takes a block back; on any thread."""
        self._returned.append((address, byte_count))

    def _collect(self) -> None:
        while self._returned:
            self._kept.append(self._returned.popleft())
        while sum(size for _, size in self._kept) > MAX_KEPT_BYTES:
            address, _ = self._kept.pop(0)
            self._device.free(address)
