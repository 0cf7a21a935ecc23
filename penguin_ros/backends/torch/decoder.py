# SPDX-License-Identifier: Apache-2.0
"""The LLM: embeddings are appended to a slot of the KV cache, and logits of chosen positions come
out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.torch.cache import KeyValueCache
from penguin_ros.backends.torch.layers import (
    Rope,
    attend,
    causal_mask,
    finish,
    project,
    rms_norm,
    rope_of,
    tree_mask,
)
from penguin_ros.backends.torch.weights import DecoderWeights, StackWeights

Store = Callable[[int, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

# A longer chunk runs in parts, so that masks and activations stay bounded.
_PART_TOKENS = 1024


def append(
    weights: DecoderWeights,
    cache: KeyValueCache,
    positions: torch.Tensor,
    place: tuple[int, int],
    x: torch.Tensor,
) -> torch.Tensor:
    """Writes the positions past .. past + S of a slot from embeddings `x` (S, hidden_size), which
    it changes; returns their last hidden states (S, hidden_size).

    `place`: the index of the slot, and past. `positions`: the rotary table, see `position_table`.
    """
    index, past = place
    parts = [
        _append_part(weights, cache, positions, (index, past + start), part)
        for start, part in zip(
            range(0, len(x), _PART_TOKENS), torch.split(x, _PART_TOKENS), strict=True
        )
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _append_part(
    weights: DecoderWeights,
    cache: KeyValueCache,
    positions: torch.Tensor,
    place: tuple[int, int],
    x: torch.Tensor,
) -> torch.Tensor:
    shape = weights.stack.shape
    index, past = place
    rope = rope_of(positions[past : past + len(x)])
    mask = causal_mask(past, len(x), shape.heads // shape.kv_heads, x)
    return run_layers(
        weights.stack, x, rope, mask, lambda layer, new: cache.append(index, layer, past, new)
    )


def append_tree(
    weights: DecoderWeights,
    cache: KeyValueCache,
    positions: torch.Tensor,
    append: Append,
    x: torch.Tensor,
) -> torch.Tensor:
    """Does the same for rows that follow each other as the layout of `append` says."""
    index, past, layout, shape = append.index, append.past, append.layout, weights.stack.shape
    assert layout is not None
    rope = rope_of(positions[past + torch.from_numpy(layout.offsets).to(x.device)])
    mask = tree_mask(past, torch.from_numpy(layout.sees), shape.heads // shape.kv_heads, x)
    return run_layers(
        weights.stack, x, rope, mask, lambda layer, new: cache.append(index, layer, past, new)
    )


def run_layers(
    stack: StackWeights, x: torch.Tensor, rope: Rope, mask: torch.Tensor | None, store: Store
) -> torch.Tensor:
    """Runs all layers on `x` in place. `store` writes the new keys and values of a layer and
    returns all that its attention sees.
    """
    for number, layer in enumerate(stack.layers):
        queries, keys_values = project(x, layer, stack.shape, rope)
        finish(x, attend(queries, *store(number, keys_values), mask), layer, stack.shape)
    return x


def logits(weights: DecoderWeights, hidden: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """Returns (len(positions), vocabulary_size) float32 from last hidden states (S,
    hidden_size).
    """
    rows = hidden[torch.tensor(positions, dtype=torch.int64, device=hidden.device)]
    return head(weights, rows)


def head(weights: DecoderWeights, rows: torch.Tensor) -> torch.Tensor:
    """Returns the logits (n, vocabulary_size) float32 of last hidden states (n, hidden_size)."""
    normed = rms_norm(rows, weights.stack.norm, weights.stack.shape.norm_eps)
    return F.linear(normed, weights.head).float()
