# SPDX-License-Identifier: Apache-2.0
"""The operations that a Qwen3 layer consists of, as functions of tensors, for encoder and decoder.

Rows are positions: (rows, hidden_size), patches in the encoder and tokens in the decoder. Heads lie
as (rows, heads, head_dim).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from penguin_ros.backends.torch.weights import LayerWeights
from penguin_ros.checkpoint.shapes import TransformerShape

Rope = tuple[torch.Tensor, torch.Tensor]
"""cos and sin, each (rows, 1, head_dim), to be applied by `project`."""

_normed: Callable[[torch.Tensor, float], torch.Tensor]
if hasattr(F, 'rms_norm'):

    def _normed(x: torch.Tensor, eps: float) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=eps)

else:  # torch before 2.4

    def _normed(x: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Applies the root-mean-square norm over the last axis in float32, rounded to the type of `x`
    before the weight, as Qwen3 does.
    """
    return _normed(x, eps).mul_(weight)


def inverse_frequencies(shape: TransformerShape, device: torch.device) -> torch.Tensor:
    """Returns the rotary frequencies (head_dim / 2,) float32."""
    exponents = (
        torch.arange(0, shape.head_dim, 2, dtype=torch.float32, device=device) / shape.head_dim
    )
    return 1.0 / shape.rope_theta**exponents


def rope_tables(first: torch.Tensor, second: torch.Tensor, dtype: torch.dtype) -> Rope:
    """Returns the tables for the angles (rows, head_dim / 2) float32 of each pair's first and
    second member.

    In the LLM both are the same and the result is a rotation. In the encoder they are the angles of
    the patch's row and of its column: two members of a pair turn by different angles, which is no
    rotation; the checkpoints were trained so.
    """
    sine = torch.cat((-first.sin(), second.sin()), dim=-1)
    cosine = torch.cat((first.cos(), second.cos()), dim=-1)
    return cosine[:, None].to(dtype), sine[:, None].to(dtype)


def position_table(shape: TransformerShape, positions: int, like: torch.Tensor) -> torch.Tensor:
    """Returns the LLM's rotary table (positions, 2, head_dim), cos and sin of each position, in the
    type of `like`; see `rope_of`.
    """
    numbers = torch.arange(positions, device=like.device)[:, None].float()
    angles = numbers * inverse_frequencies(shape, like.device)
    return torch.cat(rope_tables(angles, angles, like.dtype), dim=1)


def rope_of(table: torch.Tensor) -> Rope:
    """Returns rows of a `position_table` as what `project` takes."""
    return table[:, :1], table[:, 1:]


def apply_rope(x: torch.Tensor, rope: Rope, out: torch.Tensor | None = None) -> torch.Tensor:
    """Returns x * cos + rotate_half(x) * sin for (rows, heads, head_dim), in `out` if that is
    given; the minus of rotate_half is in the table.
    """
    cosine, sine = rope
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, dims=-1), sine, out=out)


def project(
    x: torch.Tensor, weights: LayerWeights, shape: TransformerShape, rope: Rope
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the queries (rows, heads, head_dim) of a layer, and its keys and values (rows, 2 *
    kv_heads, head_dim), the keys first; queries and keys are normed and rotated by their positions.
    """
    normed = rms_norm(x, weights.input_norm, shape.norm_eps)
    heads = F.linear(normed, weights.qkv).view(len(x), -1, shape.head_dim)
    turning = heads[:, : shape.heads + shape.kv_heads]
    apply_rope(rms_norm(turning, weights.qk_norm, shape.norm_eps), rope, out=turning)
    return heads[:, : shape.heads], heads[:, shape.heads :]


def attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Computes grouped-query attention of queries (rows, heads, head_dim) over keys and values
    (kv_heads, length, head_dim), which may be views.

    The queries that share a head of keys are stacked as rows of one product, so keys and values are
    never repeated. `mask` (rows * heads / kv_heads, length) is added to the scores; see
    `causal_mask`. Returns (rows, heads * head_dim).
    """
    rows, heads, head_dim = queries.shape
    groups = heads // len(keys)
    stacked = (
        queries.view(rows, -1, groups, head_dim)
        .permute(1, 2, 0, 3)
        .reshape(1, -1, groups * rows, head_dim)
    )
    mixed = F.scaled_dot_product_attention(stacked, keys[None], values[None], attn_mask=mask)
    return mixed.view(-1, groups, rows, head_dim).permute(2, 0, 1, 3).reshape(rows, -1)


def causal_mask(past: int, rows: int, groups: int, like: torch.Tensor) -> torch.Tensor | None:
    """Returns what `attend` adds to the scores so that row i sees the `past` positions and the
    first i + 1 of its own; None when rows is 1.
    """
    if rows == 1:
        return None
    mask = torch.full(
        (rows, past + rows), float('-inf'), dtype=like.dtype, device=like.device
    ).triu(past + 1)
    return mask.repeat(groups, 1)


def tree_mask(past: int, sees: torch.Tensor, groups: int, like: torch.Tensor) -> torch.Tensor:
    """Returns what `attend` adds to the scores so that each row sees the `past` positions and those
    of its own that `sees` (rows, rows) bool says.
    """
    mask = torch.zeros((len(sees), past + len(sees)), dtype=like.dtype, device=like.device)
    mask[:, past:].masked_fill_(~sees.to(like.device), float('-inf'))
    return mask.repeat(groups, 1)


def position_mask(
    positions: torch.Tensor, length: int, groups: int, like: torch.Tensor
) -> torch.Tensor:
    """Returns what `attend` adds to the scores over `length` positions so that each row sees those
    up to its own, which stand in `positions` (rows,).
    """
    hidden = torch.arange(length, device=like.device) > positions[:, None]
    mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    return mask.masked_fill_(hidden, float('-inf')).repeat(groups, 1)


def finish(
    x: torch.Tensor, mixed: torch.Tensor, weights: LayerWeights, shape: TransformerShape
) -> torch.Tensor:
    """Computes the rest of a layer after attention, in place: output product, residual, SwiGLU,
    residual. Returns `x`.
    """
    x.addmm_(mixed, weights.output.t())
    gate, up = F.linear(rms_norm(x, weights.ffn_norm, shape.norm_eps), weights.gate_up).chunk(
        2, dim=-1
    )
    return x.addmm_(F.silu(gate).mul_(up), weights.down.t())
