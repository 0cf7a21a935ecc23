# SPDX-License-Identifier: Apache-2.0
"""The LLM: embeddings are appended to a slot of the KV cache, and logits of chosen positions come
out.
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
_PART_TOKENS = 1024


def append(
    weights: DecoderWeights, cache: KeyValueCache, index: int, past: int, x: torch.Tensor
) -> torch.Tensor:
    """Writes the positions past .. past + S of the slot `index` from embeddings `x` (S,
    hidden_size); returns their last hidden states (S, hidden_size).
    """
    parts = [
        _append_part(weights, cache, index, past + start, part)
        for start, part in zip(
            range(0, len(x), _PART_TOKENS), torch.split(x, _PART_TOKENS), strict=True
        )
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _append_part(
    weights: DecoderWeights, cache: KeyValueCache, index: int, past: int, x: torch.Tensor
) -> torch.Tensor:
    shape = weights.stack.shape
    positions = torch.arange(past, past + len(x), device=x.device)[:, None].float()
    angles = positions * inverse_frequencies(shape, x.device)
    rope = rope_tables(angles, angles, x.dtype)
    mask = causal_mask(past, len(x), shape.heads // shape.kv_heads, x)
    for number, layer in enumerate(weights.stack.layers):
        queries, keys, values = project(x, layer, shape, rope)
        held_keys, held_values = cache.append(index, number, past, keys, values)
        x = finish(x, attend(queries, held_keys, held_values, mask), layer, shape)
    return x


def logits(weights: DecoderWeights, hidden: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """Returns (len(positions), vocabulary_size) float32 from last hidden states (S,
    hidden_size).
    """
    rows = hidden[torch.tensor(positions, dtype=torch.int64, device=hidden.device)]
    return F.linear(
        rms_norm(rows, weights.stack.norm, weights.stack.shape.norm_eps), weights.head
    ).float()
