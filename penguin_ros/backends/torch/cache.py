# SPDX-License-Identifier: Apache-2.0
"""Keys and values of all slots, allocated once. Knows places 0 .. slots - 1; which are in use is
the slot table's matter.
"""

from __future__ import annotations

import math

import torch

from penguin_ros.backends.base.slots import slots_within
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.config import ModelConfig


class KeyValueCache:
    """`slots` x layers x (keys, values) x kv_heads x `max_length` x head_dim; `slot_bytes` of it
    per slot.

    Nothing is cleared: what lies beyond the length of a slot is never read, so truncating a slot
    costs nothing.
    """

    def __init__(
        self, shape: TransformerShape, config: ModelConfig, max_length: int, like: torch.Tensor
    ) -> None:
        size = (shape.layers, 2, shape.kv_heads, max_length, shape.head_dim)
        self.slot_bytes = math.prod(size) * like.itemsize
        self.slots = slots_within(config, self.slot_bytes)
        self._values = torch.empty((self.slots, *size), dtype=like.dtype, device=like.device)

    def append(
        self, place: int, layer: int, past: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes (rows, kv_heads, head_dim) behind `past` positions; views (kv_heads, past + rows,
        head_dim) of all.
        """
        end = past + len(keys)
        held_keys, held_values = self._values[place, layer, :, :, :end]
        held_keys[:, past:] = keys.transpose(0, 1)
        held_values[:, past:] = values.transpose(0, 1)
        return held_keys, held_values

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` positions of one place to another."""
        self._values[target, ..., :length, :] = self._values[source, ..., :length, :]
