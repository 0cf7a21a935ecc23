# SPDX-License-Identifier: Apache-2.0
"""The keys and values of all slots, allocated once. Which slots are in use is the slot table's
matter.
"""

from __future__ import annotations

import math

import torch

from penguin_ros.backends.base.slots import slots_within
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.config import ModelConfig


class KeyValueCache:
    """One tensor of `slots` x layers x (keys, values) x kv_heads x `capacity` x head_dim;
    `slot_bytes` of it per slot.

    A plain pass reads what a slot holds and no more, so truncating a slot costs nothing. A pass
    with a mask reads further: a masked position counts zero times its value, which must be finite
    for that. `capacity` is then more than a slot may hold by at least one position, the last, which
    takes what belongs nowhere.
    """

    def __init__(
        self, shape: TransformerShape, config: ModelConfig, capacity: int, like: torch.Tensor
    ) -> None:
        size = (shape.layers, 2, shape.kv_heads, capacity, shape.head_dim)
        self.slot_bytes = math.prod(size) * like.itemsize
        self.slots = slots_within(config, self.slot_bytes)
        self.capacity = capacity
        self._values = torch.zeros((self.slots, *size), dtype=like.dtype, device=like.device)

    def append(
        self, index: int, layer: int, past: int, keys_values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes (tokens, 2 * kv_heads, head_dim), keys first, behind the `past` positions of a
        slot; returns views (kv_heads, past + tokens, head_dim) of all its keys and values.
        """
        end = past + len(keys_values)
        held = self._values[index, layer, :, :, :end]
        held.flatten(0, 1)[:, past:] = keys_values.transpose(0, 1)
        return held[0], held[1]

    def place(
        self, index: int, layer: int, places: torch.Tensor, keys_values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes (tokens, 2 * kv_heads, head_dim) to the positions `places` (tokens,) of a slot;
        returns views (kv_heads, capacity, head_dim) of its keys and values.
        """
        held = self._values[index, layer]
        held.flatten(0, 1).index_copy_(1, places, keys_values.transpose(0, 1))
        return held[0], held[1]

    def clear(self, index: int, first: int, end: int) -> None:
        """Sets the positions `first` .. `end` of a slot to zero."""
        self._values[index, ..., first:end, :] = 0

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another."""
        self._values[target, ..., :length, :] = self._values[source, ..., :length, :]
