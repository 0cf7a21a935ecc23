# SPDX-License-Identifier: Apache-2.0
"""Keys and values of all slots in the memory of the host, as ONNX Runtime is given them: one buffer
per layer and kind, read and written in place. Which slots are in use is the slot table's matter.

The graph attends over as many positions as its cache has, so a slot shows it no more than a step of
BUCKET beyond what it holds. Heads come before positions, hence what a slot holds is laid out again,
in the same buffer, when it grows by a bucket. Positions beyond what it holds are zero or left from
before, and always finite: they are masked, but zero times NaN is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKET = 64
"""Positions. What a smaller bucket saves in attention is lost to laying the slot out more often."""

SPARE = 4 * BUCKET
"""A slot that was truncated shrinks when it shows more than this beyond what it holds."""


@dataclass(frozen=True)
class CacheShape:
    """`tensors` = keys and values of each layer; numbers of `dtype`."""

    tensors: int
    kv_heads: int
    max_length: int
    head_dim: int
    dtype: np.dtype[Any]

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot when it is full."""
        return self.tensors * self.kv_heads * self.max_length * self.head_dim * self.dtype.itemsize


class HostCache:
    """The cache in the memory of the host; pages that were never written take none."""

    def __init__(self, library: ModuleType, shape: CacheShape, slots: int) -> None:
        self.shape = shape
        self._library = library
        size = shape.kv_heads * shape.max_length * shape.head_dim
        self._flat = [
            [np.zeros(size, shape.dtype) for _ in range(shape.tensors)] for _ in range(slots)
        ]
        self._lengths = [0] * slots

    def length(self, index: int) -> int:
        """Returns the number of positions of the tensors that `tensors` gives."""
        return self._lengths[index]

    def reserve(self, index: int, held: int, needed: int) -> bool:
        """Makes room for `needed` positions, of which the first `held` are kept; returns whether
        `tensors` are others now.
        """
        length = min(-(-needed // BUCKET) * BUCKET, self.shape.max_length)
        old = self._lengths[index]
        if held and length <= old <= length + SPARE:
            return False
        self._lengths[index] = length
        for flat in self._flat[index]:
            self._lay_out(flat, old, length, held)
        return length != old

    def _lay_out(self, flat: NDArray[Any], old: int, new: int, held: int) -> None:
        """Turns heads of `old` positions into heads of `new`; when they move up, the last one moves
        first, for they overlap.
        """
        before, after = self._heads(flat, old), self._heads(flat, new)
        heads = range(self.shape.kv_heads)
        for head in heads if new < old else reversed(heads):
            if held:
                after[head, :held] = before[head, :held]
            after[head, held:] = 0

    def spoil(self, index: int) -> None:
        """Notes that a slot may hold what is not finite; nothing to do here, where all that is
        forgotten is cleared.
        """

    def forget(self, index: int, length: int, held: int) -> None:
        """Clears the positions from `length` to `held`."""
        for flat in self._flat[index]:
            self._heads(flat, self._lengths[index])[:, length:held] = 0

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another."""
        self.reserve(target, 0, max(length, 1))
        for theirs, ours in zip(self._flat[source], self._flat[target], strict=True):
            self._heads(ours, self._lengths[target])[:, :length] = self._heads(
                theirs, self._lengths[source]
            )[:, :length]

    def write(self, index: int, past: int, new: NDArray[Any]) -> None:
        """Writes `new` (tensors, kv_heads, tokens, head_dim) behind `past` positions."""
        for flat, values in zip(self._flat[index], new, strict=True):
            self._heads(flat, self._lengths[index])[:, past : past + values.shape[1]] = values

    def tensors(self, index: int) -> list[Any]:
        """Returns OrtValues (1, kv_heads, length, head_dim) over the buffers of a slot: keys and
        values of each layer in turn.
        """
        return [
            self._library.OrtValue.ortvalue_from_numpy(
                self._heads(flat, self._lengths[index])[None]
            )
            for flat in self._flat[index]
        ]

    def _heads(self, flat: NDArray[Any], length: int) -> NDArray[Any]:
        shape = self.shape
        return flat[: shape.kv_heads * length * shape.head_dim].reshape(
            shape.kv_heads, length, shape.head_dim
        )
