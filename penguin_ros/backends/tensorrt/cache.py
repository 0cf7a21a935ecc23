# SPDX-License-Identifier: Apache-2.0
"""The KV caches of the slots in device memory. Knows addresses and pitches, no TensorRT.

A slot's cache is one block: for every layer its keys, then its values, each `kv_heads` rows of
positions. Rows lie `pitch` positions apart. An engine that updates its cache in place takes one
pitch, the length of the slot; one that reads the cache takes any, and reads all of it, so its pitch
grows with what the slot holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penguin_ros.backends.tensorrt.buffers import StridedRows

if TYPE_CHECKING:
    from penguin_ros.backends.tensorrt.device import CudaDevice

BUCKET = 256
"""Positions: lengths that an engine is run with are multiples, so that few differ; also TensorRT's
optimum.
"""


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
        """Of one slot."""
        return self.rows * self.max_length * self.position_bytes

    def bucket(self, length: int) -> int:
        """The length that an engine is run with when `length` positions matter."""
        return min(self.max_length, -(-length // BUCKET) * BUCKET)


class KvCache:
    """`places` slots; `can_grow`: the pitch follows the content."""

    def __init__(self, device: CudaDevice, shape: CacheShape, places: int, can_grow: bool) -> None:
        self.shape, self.can_grow, self._device = shape, can_grow, device
        self._blocks = [device.allocate(shape.slot_bytes) for _ in range(places)]
        self._spare_row = (
            device.allocate(shape.max_length * shape.position_bytes) if can_grow else 0
        )
        self._pitches = [shape.bucket(1) if can_grow else shape.max_length] * places
        for place in range(places):
            self.clear(place)

    def pitch(self, place: int) -> int:
        """Positions from one row of the slot to the next."""
        return self._pitches[place]

    def tensor(self, place: int, index: int) -> int:
        """Address of a layer's keys (index 2 * layer) or values (2 * layer + 1)."""
        return (
            self._blocks[place]
            + index * self.shape.heads * self._pitches[place] * self.shape.position_bytes
        )

    def rows_from(self, place: int, position: int) -> StridedRows:
        """All rows of a slot, from one position on."""
        size = self.shape.position_bytes
        return StridedRows(self._blocks[place] + position * size, self._pitches[place] * size)

    def make_room(self, place: int, held: int, length: int) -> None:
        """Queues what is needed so that `length` positions fit; the `held` first ones stay."""
        if not self.can_grow:
            return
        pitch = self.shape.bucket(length)
        if held == 0:
            self._pitches[place] = pitch
        elif pitch > self._pitches[place]:
            self._spread(place, held, pitch)

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

    def clear(self, place: int) -> None:
        """Queues setting a whole slot to zero. A masked position counts zero times its value, which
        must be finite for that.
        """
        size = self.shape.slot_bytes // self.shape.rows
        self._device.zero_rows(StridedRows(self._blocks[place], size), size, self.shape.rows)

    def _spread(self, place: int, held: int, pitch: int) -> None:
        """Moves rows apart, the last first: the new place of a row never holds one that has not
        moved yet.
        """
        old, end = self._pitches[place], self.shape.rows
        while end > 1:
            # The rows start .. end move at once when their new places begin behind the end of their
            # old ones.
            start = max(1, -(-((end - 1) * old + held) // pitch))
            if start < end:
                self._move(place, (start, old), (start, pitch), held, end - start)
                end = start
            else:
                end -= 1
                self._move_through_spare_row(place, end, held, pitch)
        self._pitches[place] = pitch

    def _at(self, place: int, row: int, pitch: int) -> StridedRows:
        size = self.shape.position_bytes
        return StridedRows(self._blocks[place] + row * pitch * size, pitch * size)

    def _move(
        self, place: int, source: tuple[int, int], target: tuple[int, int], held: int, rows: int
    ) -> None:
        """`source` and `target` are (first row, pitch)."""
        self._device.copy_rows(
            self._at(place, *target),
            self._at(place, *source),
            held * self.shape.position_bytes,
            rows,
        )

    def _move_through_spare_row(self, place: int, row: int, held: int, pitch: int) -> None:
        """For a row whose new place overlaps its old one."""
        byte_count = held * self.shape.position_bytes
        self._device.copy(
            self._spare_row, self._at(place, row, self._pitches[place]).address, byte_count
        )
        self._device.copy(self._at(place, row, pitch).address, self._spare_row, byte_count)
