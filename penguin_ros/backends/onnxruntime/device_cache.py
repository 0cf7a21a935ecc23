# SPDX-License-Identifier: Apache-2.0
"""Keys and values of all slots in the memory of a device; nothing of them passes through the host.

As in the host's cache, the graph is shown no more than a slot needs, here in lengths that double:
each length is a shape of its own, for which the provider may capture a graph of launches.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from penguin_ros.backends.onnxruntime.cache import CacheShape
from penguin_ros.backends.onnxruntime.device_memory import Rows, memory_of

SHORTEST = 512
"""Positions. A shorter length saves less attention than laying the slot out anew costs."""


class DeviceCache:
    """See HostCache, whose methods these are. One more buffer, of the size of one tensor, serves
    when a slot is laid out anew.
    """

    def __init__(self, library: ModuleType, shape: CacheShape, slots: int, device: str) -> None:
        self.shape = shape
        self.device = device
        self._memory = memory_of(device)
        self._row = shape.head_dim * shape.dtype.itemsize
        size = shape.kv_heads * shape.max_length * shape.head_dim

        def allocated() -> Any:
            return library.OrtValue.ortvalue_from_shape_and_type([size], shape.dtype, device, 0)

        self._buffers = [[allocated() for _ in range(shape.tensors)] for _ in range(slots)]
        self._scratch = allocated()
        self._shortest = min(SHORTEST, shape.max_length)
        self._lengths = [self._shortest] * slots
        self._spoiled: set[int] = set(range(slots))

    def length(self, index: int) -> int:
        """See HostCache."""
        return self._lengths[index]

    def addresses(self, index: int) -> list[int]:
        """Returns where keys and values of each layer in turn lie; that never changes."""
        return [int(buffer.data_ptr()) for buffer in self._buffers[index]]

    def reserve(self, index: int, held: int, needed: int) -> bool:
        """See HostCache. An empty slot is cleared only where NaN may have been left in it."""
        length, old = self._fitting(needed), self._lengths[index]
        is_changing = not held or not length <= old <= 2 * length
        if not is_changing:
            return False
        self._lengths[index] = length
        if index in self._spoiled and not held:
            self._clear_all(index)
        if held and length != old:
            for address in self.addresses(index):
                self._lay_out(address, (old, length), held, index in self._spoiled)
            self._memory.wait()
        return length != old

    def spoil(self, index: int) -> None:
        """Notes that a slot may hold what is not finite; it is cleared when it is forgotten."""
        self._spoiled.add(index)

    def forget(self, index: int, length: int, held: int) -> None:
        """Clears the positions from `length` to `held` where they may not be finite; others are
        hidden by the mask.
        """
        if index in self._spoiled and held > length:
            for address in self.addresses(index):
                self._memory.clear(self._rows(address, self._lengths[index], length, held))
            self._memory.wait()

    def copy(self, source: int, target: int, length: int) -> None:
        """See HostCache."""
        self.reserve(target, 0, max(length, 1))
        if source in self._spoiled:
            self._spoiled.add(target)
        theirs, ours = self._lengths[source], self._lengths[target]
        if length:
            for old, new in zip(self.addresses(source), self.addresses(target), strict=True):
                self._memory.copy(
                    self._rows(new, ours, 0, length), self._rows(old, theirs, 0, length)
                )
        self._memory.wait()

    def write(self, index: int, past: int, address: int, tokens: int) -> None:
        """Writes what lies at `address` (tensors, kv_heads, tokens, head_dim) behind `past`
        positions.
        """
        length = self._lengths[index]
        for number, ours in enumerate(self.addresses(index)):
            new = address + number * self.shape.kv_heads * tokens * self._row
            self._memory.copy(
                self._rows(ours, length, past, past + tokens), self._rows(new, tokens, 0, tokens)
            )
        self._memory.wait()

    def _lay_out(self, address: int, lengths: tuple[int, int], held: int, is_spoiled: bool) -> None:
        """Moves the first `held` positions of heads of one length apart or together to heads of
        another, by way of the scratch, since they overlap.
        """
        old, new = lengths
        between = self._rows(int(self._scratch.data_ptr()), held, 0, held)
        self._memory.copy(between, self._rows(address, old, 0, held))
        self._memory.copy(self._rows(address, new, 0, held), between)
        if is_spoiled and held < new:
            self._memory.clear(self._rows(address, new, held, new))

    def _clear_all(self, index: int) -> None:
        size = self.shape.kv_heads * self.shape.max_length * self._row
        for address in self.addresses(index):
            self._memory.clear(Rows(address, size, size, 1))
        self._memory.wait()
        self._spoiled.discard(index)

    def _rows(self, address: int, length: int, begin: int, end: int) -> Rows:
        """Positions `begin` to `end` of all heads of `length` positions."""
        return Rows(
            address + begin * self._row,
            length * self._row,
            (end - begin) * self._row,
            self.shape.kv_heads,
        )

    def _fitting(self, needed: int) -> int:
        length = self._shortest
        while length < needed:
            length *= 2
        return min(length, self.shape.max_length)
