# SPDX-License-Identifier: Apache-2.0
"""Rounds weights to int8 and int4 with scales, symmetrically.

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
"""The lowest and the highest integer; int8 leaves out -128, so that a weight and its negative round
alike.
"""

CLIPS = {'int8': (1.0,), 'int4': (1.0, 0.93, 0.86, 0.78, 0.7)}
"""Shares of a block's largest magnitude that are tried as its range: clipping a few large weights
rounds the many others more finely.
"""

TILE_ELEMENTS = 128 * 1024
SMALLEST = {'F32': 2.0**-126, 'F16': 2.0**-24, 'BF16': 2.0**-126}
"""The scale that is stored where it would round to zero."""


@dataclass(frozen=True)
class Rounded:
    """Rounded weights: `values` (outputs, inputs) int8, and `scales` (outputs, blocks) float32 that
    the scale format represents exactly.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


def quantise(
    weights: NDArray[np.float32], kind: str, block_size: int, scale_format: str
) -> Rounded:
    """Rounds weights (outputs, inputs); `block_size` divides inputs; `scale_format` is F32, F16 or
    BF16.

    Per block the clip with the least squared error wins, then the scale that fits its integers
    best. Weights must be finite.
    """
    blocks = weights.reshape(-1, block_size)
    values = np.empty(blocks.shape, np.int8)
    scales = np.empty((len(blocks), 1), np.float32)
    step = max(1, TILE_ELEMENTS // block_size)
    for start in range(0, len(blocks), step):
        rows = slice(start, start + step)
        tile = _Tile(blocks[rows], kind, scale_format)
        scales[rows] = tile.quantise()
        values[rows] = tile.rounded
    return Rounded(values.reshape(weights.shape), scales.reshape(len(weights), -1))


class _Tile:
    """Some blocks, one a row, that are rounded at once; `rounded` and `ratio` are working memory of
    their size.
    """

    def __init__(self, blocks: NDArray[np.float32], kind: str, scale_format: str) -> None:
        self.blocks = blocks
        self.kind = kind
        self.scale_format = scale_format
        self.rounded = np.empty_like(blocks)
        self.ratio = np.empty_like(blocks)

    def quantise(self) -> NDArray[np.float32]:
        """Returns the scales (blocks, 1), and leaves the integers in `rounded`."""
        high = LIMITS[self.kind][1]
        full = np.abs(self.blocks).max(axis=1, keepdims=True) / np.float32(high)
        best = full
        if len(CLIPS[self.kind]) > 1:
            least = np.full(full.shape, np.inf, np.float32)
            for clip in CLIPS[self.kind]:
                scales = _exact(full * np.float32(clip), self.scale_format)
                error = self._error(scales)
                best = np.where(error < least, scales, best)
                np.minimum(error, least, out=least)
            best = self._refitted(best)
        best = _exact(best, self.scale_format)
        self._round(best)
        return best

    def _round(self, scales: NDArray[np.float32]) -> None:
        """`ratio` becomes blocks / scales, `rounded` the nearest integers within the limits."""
        low, high = LIMITS[self.kind]
        np.divide(self.blocks, scales, out=self.ratio)
        np.rint(self.ratio, out=self.rounded)
        np.maximum(self.rounded, np.float32(low), out=self.rounded)
        np.minimum(self.rounded, np.float32(high), out=self.rounded)

    def _error(self, scales: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the squared error of each block."""
        self._round(scales)
        difference = self.rounded
        difference -= self.ratio
        squares = np.einsum('ij,ij->i', difference, difference)[:, None]
        error: NDArray[np.float32] = squares * scales * scales
        return error

    def _refitted(self, scales: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the scales with the least squared error for the integers that `scales` gave."""
        self._round(scales)
        above = np.einsum('ij,ij->i', self.blocks, self.rounded)[:, None]
        below = np.einsum('ij,ij->i', self.rounded, self.rounded)[:, None]
        fitted = np.where(below > 0, above / np.maximum(below, np.float32(1)), scales)
        return fitted.astype(np.float32)


def _exact(scales: NDArray[np.float32], scale_format: str) -> NDArray[np.float32]:
    """Rounds scales to the format in which they are stored, never to zero."""
    rounded = widened(*narrowed(scale_format, scales.astype(np.float32)))
    return np.maximum(rounded, np.float32(SMALLEST[scale_format]))


def packed(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Packs (outputs, inputs) int4 to (inputs, outputs / 2): pairs of neighbouring outputs in one
    byte, the first in its low half.
    """
    bits = values.view(np.uint8)
    pairs: NDArray[np.uint8] = (bits[0::2] & np.uint8(15)) | (bits[1::2] << np.uint8(4))
    return pairs.T
