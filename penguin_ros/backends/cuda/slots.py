# SPDX-License-Identifier: Apache-2.0
"""The keys and values of all slots in device memory: one block, in which a slot begins at an offset
that lies in device memory, so that one graph serves all slots.

A slot holds for every layer the keys of all heads, then the values, as rows of `pitch` positions of
`head_dim` numbers. Where these are int8, each position of a row has a scale, in a block of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penguin_ros.backends.cuda.buffers import StridedRows

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice

PITCH_STEP = 16
"""Positions: a slot has room for a multiple."""


SCALE_BYTES = 4


@dataclass(frozen=True)
class SlotShape:
    """Slots of `pitch` positions for a stack of layers, numbers of `number_bytes`; those of one
    byte have scales.
    """

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
    def number_block_bytes(self) -> int:
        """Bytes of a slot's numbers."""
        return self.numbers * self.number_bytes

    @property
    def scale_block_bytes(self) -> int:
        """Bytes of its scales, 0 where there are none."""
        return self.rows * self.pitch * SCALE_BYTES if self.number_bytes == 1 else 0

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot."""
        return self.number_block_bytes + self.scale_block_bytes


def slot_shape(stack: tuple[int, int, int], max_length: int, number_bytes: int) -> SlotShape:
    """Returns the shape of slots that hold `max_length` positions of a stack of (layers, heads of
    keys, numbers of a head).
    """
    pitch = -(-max_length // PITCH_STEP) * PITCH_STEP
    return SlotShape(*stack, pitch, number_bytes)


class Slots:
    """`count` slots; OutOfMemory when there is no room for them."""

    def __init__(self, device: CudaDevice, shape: SlotShape, count: int) -> None:
        self.shape = shape
        self._device = device
        self.address = device.allocate(count * shape.number_block_bytes)
        self.scales = device.allocate(max(SCALE_BYTES, count * shape.scale_block_bytes))

    @property
    def most_pitch(self) -> int:
        """The positions from one head to the next."""
        return self.shape.pitch

    def offset(self, index: int) -> int:
        """Returns where a slot begins, in numbers."""
        return index * self.shape.numbers

    def copy(self, source: int, target: int, length: int) -> None:
        """Queues a copy of the first `length` positions from one slot to another."""
        shape = self.shape
        self._copy(self.address, shape.position_bytes, (source, target, length))
        if shape.scale_block_bytes:
            self._copy(self.scales, SCALE_BYTES, (source, target, length))

    def _copy(self, block: int, width: int, part: tuple[int, int, int]) -> None:
        """Queues a copy within a block of `width` bytes a position."""
        source, target, length = part
        pitch = self.shape.pitch * width
        places = (block + index * self.shape.rows * pitch for index in (target, source))
        first, second = (StridedRows(place, pitch) for place in places)
        if length:
            self._device.copy_rows(first, second, length * width, self.shape.rows)
