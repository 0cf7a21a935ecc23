# SPDX-License-Identifier: Apache-2.0
"""Encoder and projector: they turn the patches of one frame into its visual features, in slices.

Every operation runs on one frame alone, so its features are the same bits whatever else is encoded
before, after or between.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
import torch.nn.functional as F

from penguin_ros.backends.torch.layers import (
    Rope,
    attend,
    finish,
    inverse_frequencies,
    project,
    rms_norm,
    rope_tables,
)
from penguin_ros.backends.torch.pixels import on_device
from penguin_ros.backends.torch.weights import EncoderWeights, LayerWeights
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.model_inputs import FramePatches
from penguin_ros.steps import run_to_end

Encoded = tuple[torch.Tensor, torch.Tensor]
"""What comes out after merging (tokens, encoder size), and after the projector (tokens,
hidden_size).
"""


def encode_frame(
    weights: EncoderWeights, frame: FramePatches, rows_per_slice: int
) -> Generator[None, None, Encoded]:
    """Encodes a frame. Yields after each slice, which is a layer, or `rows_per_slice` rows of a
    layer when the frame has more patches than that.
    """
    like = weights.patches[0]
    rope = grid_rope(frame, weights.stack.shape, like)
    return (
        yield from _encode(weights, on_device(frame, like), rope, frame.merge_size, rows_per_slice)
    )


def encode_whole(
    weights: EncoderWeights, pixels: torch.Tensor, rope: Rope, merge_size: int
) -> Encoded:
    """Encodes a frame at once from its pixels (patches, patch_values); see `grid_rope`."""
    like = weights.patches[0]
    return run_to_end(_encode(weights, pixels.to(like.dtype), rope, merge_size, len(pixels)))


def _encode(
    weights: EncoderWeights, pixels: torch.Tensor, rope: Rope, merge_size: int, rows_per_slice: int
) -> Generator[None, None, Encoded]:
    x = F.linear(pixels, *weights.patches)
    yield
    for layer in weights.stack.layers:
        yield from _layer(x, layer, weights.stack.shape, rope, rows_per_slice)
    return (yield from _tail(x, weights, merge_size, rows_per_slice))


def _layer(
    x: torch.Tensor, layer: LayerWeights, shape: TransformerShape, rope: Rope, rows_per_slice: int
) -> Generator[None, None, None]:
    """Runs one layer on `x` in place."""
    blocks = [slice(start, start + rows_per_slice) for start in range(0, len(x), rows_per_slice)]
    projected = []
    for block in blocks:
        projected.append(project(x[block], layer, shape, (rope[0][block], rope[1][block])))
        if len(blocks) > 1:
            yield
    # (2 * kv_heads, patches, head_dim): every row of the frame sees all of its patches
    parts = [keys_values for _, keys_values in projected]
    keys_values = (parts[0] if len(parts) == 1 else torch.cat(parts)).transpose(0, 1)
    keys, values = keys_values[: shape.kv_heads], keys_values[shape.kv_heads :]
    for block, (queries, _) in zip(blocks, projected, strict=True):
        finish(x[block], attend(queries, keys, values), layer, shape)
        yield


def _tail(
    x: torch.Tensor, weights: EncoderWeights, merge_size: int, rows_per_slice: int
) -> Generator[None, None, Encoded]:
    """Applies the final norm, merges, projects."""
    parts = []
    for block in torch.split(x, max(1, rows_per_slice // merge_size**2) * merge_size**2):
        encoded = merge(
            rms_norm(block, weights.stack.norm, weights.stack.shape.norm_eps), merge_size
        )
        parts.append((encoded, _project_features(encoded, weights)))
        yield
    if len(parts) == 1:
        return parts[0]
    return torch.cat([encoded for encoded, _ in parts]), torch.cat(
        [projected for _, projected in parts]
    )


def _project_features(encoded: torch.Tensor, weights: EncoderWeights) -> torch.Tensor:
    first, second = weights.projector
    return F.linear(F.gelu(F.linear(encoded, *first)), *second)


def merge(x: torch.Tensor, merge_size: int) -> torch.Tensor:
    """Merges (patches, size) in merge-block order to (patches / merge_size ** 2, size), blocks in
    rows of the grid.

    It equals bilinear interpolation of the grid by 1 / merge_size with align_corners=False: its
    sampling point is the centre of the block, so it takes the mean of the block's four central
    patches, or the one in the centre when merge_size is odd.
    """
    if merge_size == 1:
        return x
    blocks = x.view(-1, merge_size, merge_size, x.shape[-1])
    centre = slice((merge_size - 1) // 2, merge_size // 2 + 1)
    return blocks[:, centre, centre].mean(dim=(1, 2))


def grid_rope(frame: FramePatches, shape: TransformerShape, like: torch.Tensor) -> Rope:
    """Returns the tables for the true grid position of every patch, in merge-block order."""
    rows = torch.arange(frame.rows, device=like.device)[:, None].expand(-1, frame.columns)
    columns = torch.arange(frame.columns, device=like.device).expand(frame.rows, -1)
    frequencies = inverse_frequencies(shape, like.device)
    angles = [
        _in_blocks(positions, frame.merge_size)[:, None].float() * frequencies
        for positions in (rows, columns)
    ]
    return rope_tables(angles[0], angles[1], like.dtype)


def _in_blocks(grid: torch.Tensor, merge_size: int) -> torch.Tensor:
    """Reorders (rows, columns) to (rows * columns,) by block row, block column, row in the block,
    column in the block.
    """
    rows, columns = grid.shape
    blocks = grid.reshape(rows // merge_size, merge_size, columns // merge_size, merge_size)
    return blocks.transpose(1, 2).flatten()
