# SPDX-License-Identifier: Apache-2.0
"""The LLM: rows of embeddings appended to a KV cache, logits of chosen positions. Knows no frames
and no slot numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from penguin_ros.backends.torch.cache import KeyValueCache
from penguin_ros.backends.torch.layers import (
    attend,
    causal_mask,
    finish,
    inverse_frequencies,
    project,
    rms_norm,
    rope_tables,
)
from penguin_ros.backends.torch.weights import DecoderWeights

# A longer chunk runs in parts, so that masks and activations stay bounded.
_PART_ROWS = 1024


def append(
    weights: DecoderWeights, cache: KeyValueCache, place: int, past: int, x: torch.Tensor
) -> torch.Tensor:
    """Writes the positions past .. past + S of a place from embeddings `x` (S, hidden_size);
    returns their last hidden states.
    """
    parts = [
        _append_part(weights, cache, place, past + start, part)
        for start, part in zip(
            range(0, len(x), _PART_ROWS), torch.split(x, _PART_ROWS), strict=True
        )
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _append_part(
    weights: DecoderWeights, cache: KeyValueCache, place: int, past: int, x: torch.Tensor
) -> torch.Tensor:
    shape = weights.stack.shape
    angles = torch.arange(past, past + len(x), device=x.device)[
        :, None
    ].float() * inverse_frequencies(shape, x.device)
    rope = rope_tables(angles, angles, x.dtype)
    mask = causal_mask(past, len(x), shape.heads // shape.kv_heads, x)
    for index, layer in enumerate(weights.stack.layers):
        queries, keys, values = project(x, layer, shape, rope)
        held_keys, held_values = cache.append(place, index, past, keys, values)
        x = finish(x, attend(queries, held_keys, held_values, mask), layer, shape)
    return x


def logits(weights: DecoderWeights, hidden: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """(len(positions), vocabulary_size) float32 from last hidden states."""
    rows = hidden[torch.tensor(positions, dtype=torch.int64, device=hidden.device)]
    return F.linear(
        rms_norm(rows, weights.stack.norm, weights.stack.shape.norm_eps), weights.head
    ).float()
