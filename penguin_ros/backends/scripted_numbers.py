# SPDX-License-Identifier: Apache-2.0
"""Reproducible numbers that stand in for a network's: states of sequences, logits, features. Knows no slots and no scripts."""
from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def next_state(state: int, content: int) -> int:
    """The 64-bit state after one more position: depends on every bit of both (splitmix64)."""
    mixed = ((state ^ content) + _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * _FIRST) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * _SECOND) & _MASK
    return mixed ^ (mixed >> 31)


def row_content(row: NDArray[np.float32]) -> int:
    """64 bits that stand for one row of features."""
    return int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), 'little')


def state_logits(state: int, vocabulary_size: int) -> NDArray[np.float32]:
    """(vocabulary_size,) float32 in -4 .. 4."""
    mixed = np.arange(1, vocabulary_size + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(state)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_SECOND)
    unit = (mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return unit * np.float32(8) - np.float32(4)


def frame_features(blocks: NDArray[np.float32], encoder_size: int,
                   hidden_size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(tokens, encoder_size) and (tokens, hidden_size) from (tokens, values of a block): random but fixed projections."""
    random = np.random.default_rng(2024)
    encoder: NDArray[np.float32] = random.standard_normal((blocks.shape[1], encoder_size), dtype=np.float32)
    projector: NDArray[np.float32] = random.standard_normal((encoder_size, hidden_size), dtype=np.float32)
    encoded: NDArray[np.float32] = blocks @ encoder
    projected: NDArray[np.float32] = encoded @ projector
    return encoded, projected
