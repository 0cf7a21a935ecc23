# SPDX-License-Identifier: Apache-2.0
"""Rounds weights to int8 and int4 with scales, symmetrically. Knows arrays only.

Rows are outputs, columns inputs. A block is a run of inputs of one output that share a scale. Work
goes through tiles that fit into a core's cache: every step of the search reads its tile again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.tensors import widened

LIMITS = {'int8': (-127, 127), 'int4': (-8, 7)}
"""Lowest and highest integer; int8 leaves out -128, so that a weight and its negative round alike."""

CLIPS = {'int8': (1.0,), 'int4': (1.0, 0.93, 0.86, 0.78, 0.7)}
"""Shares of a block's largest magnitude that are tried as its range: clipping few large weights
rounds the many others finer.
"""

TILE_ELEMENTS = 128 * 1024
SMALLEST = {'F32': 2.0**-126, 'F16': 2.0**-24, 'BF16': 2.0**-126}
"""What a scale is when it would round to zero."""


@dataclass(frozen=True)
class Rounded:
    """`values` (outputs, inputs) int8; `scales` (outputs, blocks) float32 that the scale format
    represents exactly.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


def quantise(
    weights: NDArray[np.float32], kind: str, block_size: int, scale_format: str
) -> Rounded:
    """Rounds (outputs, inputs); `block_size` divides inputs; `scale_format` is F32, F16 or BF16.

    Per block the clip with the least squared error wins, then the scale that fits its integers
    best. Weights must be finite.
    """
    blocks = weights.reshape(-1, block_size)
    values = np.empty(blocks.shape, np.int8)
    scales = np.empty((len(blocks), 1), np.float32)
    step = max(1, TILE_ELEMENTS // block_size)
    for start in range(0, len(blocks), step):
        tile = slice(start, start + step)
        scales[tile] = _quantise_tile(blocks[tile], kind, scale_format, values[tile])
    return Rounded(values.reshape(weights.shape), scales.reshape(len(weights), -1))


def _quantise_tile(
    blocks: NDArray[np.float32], kind: str, scale_format: str, out: NDArray[np.int8]
) -> NDArray[np.float32]:
    high = LIMITS[kind][1]
    full = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(high)
    work, ratio = np.empty_like(blocks), np.empty_like(blocks)
    best = full
    if len(CLIPS[kind]) > 1:
        least = np.full(full.shape, np.inf, np.float32)
        for clip in CLIPS[kind]:
            scales = _exact(full * np.float32(clip), scale_format)
            error = _error(blocks, scales, kind, ratio, work)
            best = np.where(error < least, scales, best)
            np.minimum(error, least, out=least)
        best = _refitted(blocks, best, kind, ratio, work)
    best = _exact(best, scale_format)
    _round(blocks, best, kind, ratio, work)
    out[...] = work
    return best


def _round(
    blocks: NDArray[np.float32],
    scales: NDArray[np.float32],
    kind: str,
    ratio: NDArray[np.float32],
    work: NDArray[np.float32],
) -> None:
    """`ratio` becomes blocks / scales, `work` the nearest integers within the limits."""
    low, high = LIMITS[kind]
    np.divide(blocks, scales, out=ratio)
    np.rint(ratio, out=work)
    np.maximum(work, np.float32(low), out=work)
    np.minimum(work, np.float32(high), out=work)


def _error(
    blocks: NDArray[np.float32],
    scales: NDArray[np.float32],
    kind: str,
    ratio: NDArray[np.float32],
    work: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Squared error of each block."""
    _round(blocks, scales, kind, ratio, work)
    work -= ratio
    error: NDArray[np.float32] = np.einsum('ij,ij->i', work, work)[:, None] * scales * scales
    return error


def _refitted(
    blocks: NDArray[np.float32],
    scales: NDArray[np.float32],
    kind: str,
    ratio: NDArray[np.float32],
    work: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The scale with the least squared error for the integers that `scales` gave."""
    _round(blocks, scales, kind, ratio, work)
    above = np.einsum('ij,ij->i', blocks, work)[:, None]
    below = np.einsum('ij,ij->i', work, work)[:, None]
    return np.where(below > 0, above / np.maximum(below, np.float32(1)), scales).astype(np.float32)


def _exact(scales: NDArray[np.float32], scale_format: str) -> NDArray[np.float32]:
    """Rounded to the format in which scales are stored, never to zero."""
    rounded = widened(*narrowed(scale_format, scales.astype(np.float32)))
    return np.maximum(rounded, np.float32(SMALLEST[scale_format]))


def packed(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """(outputs, inputs) int4 to (inputs, outputs / 2): pairs of neighbouring outputs in one byte,
    the first in its low half.
    """
    bits = values.view(np.uint8)
    pairs: NDArray[np.uint8] = (bits[0::2] & np.uint8(15)) | (bits[1::2] << np.uint8(4))
    return pairs.T
