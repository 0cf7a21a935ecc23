# SPDX-License-Identifier: Apache-2.0
"""How weights lie in memory for these kernels, made once, when a bundle is built or opened.

A matrix is (outputs, inputs). int4 and int8 weights lie in 32-bit words: 16 words in turn hold 16 x
8 (int4) or 16 x 4 (int8) inputs of one output; word c holds the inputs c, 16 + c, 32 + c ..., the
first in its lowest bits, each with half its range added (8 or 128), so that it is never negative.
A thread that loads four words in turn then meets activations that lie in fours as well. Scales are
(outputs, blocks). Sizes are filled up with zeros: inputs to a multiple of INPUTS, outputs to one of
OUTPUTS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUTS = 128
"""Inputs of a product come in multiples of this; the block of int4 weights is as large."""

OUTPUTS = 128
"""Outputs of a product come in multiples of this."""

GROUP = 16
"""Words that lie together."""


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """`words` (outputs, inputs / (32 / bits)) int32 and `scales` (outputs, inputs / block)."""

    words: NDArray[np.int32]
    scales: NDArray[Any]
    bits: int
    block: int


def filled_up(size: int, step: int) -> int:
    """Returns the next multiple of `step`."""
    return -(-size // step) * step


def pack(values: NDArray[np.int8], scales: NDArray[Any], bits: int) -> PackedMatrix:
    """Packs integers (outputs, inputs), -8 .. 7 or -127 .. 127, with scales (outputs, blocks): one
    for all inputs of an output, or one for each block of INPUTS.
    """
    outputs, inputs = (
        filled_up(size, step) for size, step in zip(values.shape, (OUTPUTS, INPUTS), strict=True)
    )
    blocks = inputs // INPUTS
    wide = np.zeros((outputs, blocks), scales.dtype)
    wide[: len(scales), : scales.shape[1]] = scales
    if scales.shape[1] == 1:
        wide[:] = wide[:, :1]
    return PackedMatrix(_words(values, (outputs, inputs), bits), wide, bits, INPUTS)


def _words(values: NDArray[np.int8], shape: tuple[int, int], bits: int) -> NDArray[np.int32]:
    per, half = 32 // bits, 1 << (bits - 1)
    padded = np.full(shape, half, np.uint8)
    padded[: len(values), : values.shape[1]] = (values + np.int16(half)).astype(np.uint8)
    parts = padded.reshape(shape[0], -1, per, GROUP)
    words = np.zeros((shape[0], parts.shape[1], GROUP), np.uint32)
    for place in range(per):
        words |= parts[:, :, place].astype(np.uint32) << np.uint32(place * bits)
    return words.reshape(shape[0], -1).view(np.int32)


def unpack(matrix: PackedMatrix) -> NDArray[np.int8]:
    """Returns the integers (outputs, inputs) of a packed matrix, filled up as it is."""
    per, half = 32 // matrix.bits, 1 << (matrix.bits - 1)
    words = matrix.words.view(np.uint32).reshape(len(matrix.words), -1, 1, GROUP)
    shifts = np.arange(per, dtype=np.uint32)[:, None] * np.uint32(matrix.bits)
    stored = (words >> shifts) & np.uint32((1 << matrix.bits) - 1)
    return (stored.astype(np.int16) - half).astype(np.int8).reshape(len(matrix.words), -1)


def weights_of(matrix: PackedMatrix) -> NDArray[np.float64]:
    """Returns the weights (outputs, inputs) that a packed matrix stands for."""
    scales = np.repeat(np.asarray(matrix.scales, np.float64), matrix.block, axis=1)
    return unpack(matrix) * scales


def from_bundle(stored: NDArray[Any], scales: NDArray[Any], bits: int, block: int) -> PackedMatrix:
    """Packs a matrix of a weight file: int4 (inputs, outputs / 2) in pairs of neighbouring outputs,
    the first in the low half of a byte, or int8 (inputs, outputs); scales (blocks, outputs) or
    (outputs,). `block` 0: one scale for all inputs.
    """
    integers = stored.view(np.int8) if bits == 8 else _from_pairs(stored.view(np.uint8))
    scales = scales.reshape(-1, integers.shape[1]).T
    if block and block != INPUTS:
        raise ValueError(f'blocks of {block}; the kernels have {INPUTS}')
    return pack(np.ascontiguousarray(integers.T), np.ascontiguousarray(scales), bits)


def _from_pairs(pairs: NDArray[np.uint8]) -> NDArray[np.int8]:
    both = np.stack((pairs & np.uint8(15), pairs >> np.uint8(4)), axis=-1)
    signed = (both.reshape(len(pairs), -1) ^ np.uint8(8)).astype(np.int8) - np.int8(8)
    return signed
