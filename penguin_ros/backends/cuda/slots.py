# SPDX-License-Identifier: Apache-2.0
"""The keys and values of all slots in device memory: one block, in which a slot begins at an offset
that lies in device memory, so that one graph serves all slots.

A slot holds for every layer the keys of all heads, then the values, as rows of `pitch` positions of
`head_dim` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penguin_ros.backends.cuda.buffers import StridedRows
from penguin_ros.checkpoint.shapes import TransformerShape

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice

PITCH_STEP = 16
"""Positions: a slot has room for a multiple."""


@dataclass(frozen=True)
class SlotShape:
    """Slots of `pitch` positions for a stack of layers, numbers of `number_bytes`."""

    layers: int
    kv_heads: int
    head_dim: int
    pitch: int
    number_bytes: int

    @property
    def rows(self) -> int:
        """Rows of positions in a slot."""
        return 2 * self.layers * self.kv_heads

    @property
    def position_bytes(self) -> int:
        """Bytes of a position in a row."""
        return self.head_dim * self.number_bytes

    @property
    def numbers(self) -> int:
        """Numbers in a slot."""
        return self.rows * self.pitch * self.head_dim

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot."""
        return self.numbers * self.number_bytes


def slot_shape(shape: TransformerShape, max_length: int, number_bytes: int) -> SlotShape:
    """Returns the shape of slots that hold `max_length` positions."""
    pitch = -(-max_length // PITCH_STEP) * PITCH_STEP
    return SlotShape(shape.layers, shape.kv_heads, shape.head_dim, pitch, number_bytes)


class Slots:
    """`count` slots; OutOfMemory when there is no room for them."""

    def __init__(self, device: CudaDevice, shape: SlotShape, count: int) -> None:
        self.shape = shape
        self._device = device
        self.address = device.allocate(count * shape.slot_bytes)

    def offset(self, index: int) -> int:
        """Returns where a slot begins, in numbers."""
        return index * self.shape.numbers

    def copy(self, source: int, target: int, length: int) -> None:
        """Queues a copy of the first `length` positions from one slot to another."""
        if length:
            first, second = (self._rows(index) for index in (target, source))
            self._device.copy_rows(
                first, second, length * self.shape.position_bytes, self.shape.rows
            )

    def _rows(self, index: int) -> StridedRows:
        pitch = self.shape.pitch * self.shape.position_bytes
        return StridedRows(self.address + index * self.shape.slot_bytes, pitch)
