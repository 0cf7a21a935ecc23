# SPDX-License-Identifier: Apache-2.0
"""The KV caches of the slots in device memory, as addresses and pitches.

A slot's cache is one block: for every layer its keys, then its values, each `kv_heads` rows of
positions. Rows lie `pitch` positions apart. An engine that updates its cache in place takes one
pitch, the length of the slot; one that reads the cache takes any, and reads all of it, so its pitch
grows with what the slot holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penguin_ros.backends.cuda.buffers import StridedRows

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice

BUCKET = 256
"""Positions: lengths that an engine is run with are multiples, so that few differ."""

LONG = 4
"""Lengths above so many buckets are multiples of two: a step then reads up to half a wide one in
vain, which is little beside the weights; every length costs a context, a CUDA graph and memory.
"""

SPARE_BYTES = 4 * 1024 * 1024
"""Bytes through which the content of two slots is swapped, piece by piece."""

STEP = 16
"""Positions: a cache holds a multiple, which keeps each layer's keys and values aligned for heads
of 8 numbers or more.
"""


@dataclass(frozen=True)
class CacheShape:
    """`tensors` = 2 * layers, each `heads` rows of up to `max_length` positions of
    `position_bytes`.
    """

    tensors: int
    heads: int
    position_bytes: int
    max_length: int

    @property
    def rows(self) -> int:
        """Rows of a slot."""
        return self.tensors * self.heads

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot."""
        return self.rows * self.max_length * self.position_bytes

    def bucket(self, length: int) -> int:
        """Returns the length that an engine is run with when `length` positions matter."""
        width = BUCKET if length <= LONG * BUCKET else 2 * BUCKET
        return min(self.max_length, -(-length // width) * width)

    def buckets(self) -> list[int]:
        """Returns every length that `bucket` gives, ascending."""
        return sorted({self.bucket(end) for end in range(1, self.max_length + 1)})


class KvCache:
    """The blocks of `slots` slots; with `can_grow` the pitch follows the content. A block is
    allocated when its slot is first used, so that slots nobody needs take no memory; OutOfMemory
    when there is none then. With `is_one_block` all lie in one, for kernels that find a slot by how
    far it is from the first.
    """

    def __init__(
        self,
        device: CudaDevice,
        shape: CacheShape,
        slots: int,
        can_grow: bool,
        is_one_block: bool = False,
    ) -> None:
        self.shape = shape
        self.can_grow = can_grow
        self._device = device
        self._blocks = [0] * slots
        row_bytes = shape.max_length * shape.position_bytes
        self._spare_bytes = max(row_bytes, min(SPARE_BYTES, shape.slot_bytes))
        self._spare_block = 0
        self.address = device.allocate(slots * shape.slot_bytes) if is_one_block else 0
        self._pitches = [shape.bucket(1) if can_grow else shape.max_length] * slots

    def pitch(self, index: int) -> int:
        """Returns the number of positions from one row of the slot to the next."""
        return self._pitches[index]

    def offset_bytes(self, index: int) -> int:
        """Returns how far a slot lies from the first where all are in one block."""
        return self._block(index) - self.address

    def tensor(self, index: int, number: int) -> int:
        """Returns the address of a layer's keys (number 2 * layer) or values (2 * layer + 1)."""
        row = number * self.shape.heads
        return self._block(index) + row * self._pitches[index] * self.shape.position_bytes

    def rows_from(self, index: int, position: int) -> StridedRows:
        """Returns all rows of a slot, from one position on."""
        size = self.shape.position_bytes
        return StridedRows(self._block(index) + position * size, self._pitches[index] * size)

    def make_room(self, index: int, held: int, length: int) -> None:
        """Queues what is needed so that `length` positions fit; the `held` first ones stay."""
        if not self.can_grow:
            return
        pitch = self.shape.bucket(length)
        if held == 0:
            self._pitches[index] = pitch
        elif pitch > self._pitches[index]:
            self._spread(index, held, pitch)

    def copy(self, source: int, target: int, length: int) -> None:
        """Queues a copy of the first `length` positions from one slot to another."""
        self.make_room(target, 0, max(length, 1))
        if length:
            self._device.copy_rows(
                self.rows_from(target, 0),
                self.rows_from(source, 0),
                length * self.shape.position_bytes,
                self.shape.rows,
            )

    def swap(self, first: int, second: int, length: int) -> None:
        """Queues exchanging the memory of two slots: each then lies where the other lay, with its
        content and pitch. No more than `length` positions of either matter.
        """
        shape, blocks, pitches = self.shape, self._blocks, self._pitches
        if pitches[first] == pitches[second]:
            rows, row_bytes = shape.rows, length * shape.position_bytes
            places = self.rows_from(first, 0), self.rows_from(second, 0)
        else:
            rows, row_bytes = 1, shape.rows * max(pitches[first], pitches[second])
            row_bytes *= shape.position_bytes
            places = (
                StridedRows(self._block(first), row_bytes),
                StridedRows(self._block(second), row_bytes),
            )
        for row, count, offset, width in pieces(rows, row_bytes, self._spare_bytes):
            one, other = (
                StridedRows(place.address + row * place.pitch + offset, place.pitch)
                for place in places
            )
            spare = StridedRows(self._spare(), width)
            for target, source in ((spare, one), (one, other), (other, spare)):
                self._device.copy_rows(target, source, width, count)
        blocks[first], blocks[second] = blocks[second], blocks[first]

    def clear(self, index: int) -> None:
        """Queues setting a whole slot to zero. A masked position counts zero times its value, which
        must be finite for that.
        """
        size = self.shape.slot_bytes // self.shape.rows
        self._device.zero_rows(StridedRows(self._block(index), size), size, self.shape.rows)

    def _block(self, index: int) -> int:
        """Returns the address of a slot's block, which is allocated and zeroed on first use."""
        if not self._blocks[index]:
            size = self.shape.slot_bytes
            self._blocks[index] = (
                self.address + index * size if self.address else self._device.allocate(size)
            )
            self.clear(index)
        return self._blocks[index]

    def _spare(self) -> int:
        if not self._spare_block:
            self._spare_block = self._device.allocate(self._spare_bytes)
        return self._spare_block

    def _spread(self, index: int, held: int, pitch: int) -> None:
        """Moves rows apart, the last first, so that the new place of a row never holds one that has
        not moved yet.
        """
        old, end = self._pitches[index], self.shape.rows
        while end > 1:
            # The rows start .. end move at once when their new places begin behind the end of their
            # old ones.
            start = max(1, -(-((end - 1) * old + held) // pitch))
            if start < end:
                self._move(index, (start, old), (start, pitch), held, end - start)
                end = start
            else:
                end -= 1
                self._move_through_spare_row(index, end, held, pitch)
        self._pitches[index] = pitch

    def _at(self, index: int, row: int, pitch: int) -> StridedRows:
        size = self.shape.position_bytes
        return StridedRows(self._block(index) + row * pitch * size, pitch * size)

    def _move(
        self, index: int, source: tuple[int, int], target: tuple[int, int], held: int, rows: int
    ) -> None:
        """`source` and `target` are (first row, pitch)."""
        self._device.copy_rows(
            self._at(index, *target),
            self._at(index, *source),
            held * self.shape.position_bytes,
            rows,
        )

    def _move_through_spare_row(self, index: int, row: int, held: int, pitch: int) -> None:
        """Moves a row whose new place overlaps its old one."""
        byte_count = held * self.shape.position_bytes
        old, new = self._at(index, row, self._pitches[index]), self._at(index, row, pitch)
        self._device.copy(self._spare(), old.address, byte_count)
        self._device.copy(new.address, self._spare(), byte_count)


def pieces(rows: int, row_bytes: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """Cuts `rows` of `row_bytes` into pieces of at most `most` bytes: yields (first row, rows,
    first byte, bytes of a row).
    """
    width = max(1, min(row_bytes, most))
    count = most // width
    for row in range(0, rows, count):
        for offset in range(0, row_bytes, width):
            yield row, min(count, rows - row), offset, min(width, row_bytes - offset)
