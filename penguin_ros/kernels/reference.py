# SPDX-License-Identifier: Apache-2.0
"""What each kernel computes, in numpy, as plainly as can be: names and arguments are those of the
kernels. Computed in the type of what is given, float64 for a yardstick.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """Returns x over the root of its mean square, times gain."""
    root = np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + eps)
    return np.asarray(x / root * gain)


def norm_product(x: Array, gain: Array, weights: Array, eps: float) -> Array:
    """The kernel `norm_product`, with weights (outputs, inputs) as numbers."""
    return np.asarray(rms_norm(x, gain, eps) @ weights.T)


def silu(x: Array) -> Array:
    """Returns x times its logistic function."""
    return np.asarray(x / (1 + np.exp(-x)))


def gated_product(x: Array, gain: Array, weights: Array, eps: float) -> Array:
    """The kernel `gated_product`: the first half of the outputs of `weights` is the gate."""
    gate, up = np.split(norm_product(x, gain, weights, eps), 2, axis=-1)
    return np.asarray(silu(gate) * up)


def turned(heads: Array, gain: Array, cosine: Array, sine: Array, eps: float) -> Array:
    """Returns heads (rows, n, head_dim) normed and turned by angles whose cosines and sines are
    (rows, head_dim): x * cos + rotate_half(x) * sin.
    """
    normed = rms_norm(heads, gain, eps)
    first, second = np.split(normed, 2, axis=-1)
    rotated = np.concatenate((-second, first), axis=-1)
    return np.asarray(normed * cosine[:, None] + rotated * sine[:, None])


def attend(queries: Array, keys: Array, values: Array, is_visible: Array) -> Array:
    """Mixes values (kv_heads, length, head_dim) for queries (rows, heads, head_dim): row i sees
    those positions for which is_visible (rows, length) says so. Returns (rows, heads * head_dim).
    """
    rows, heads, head_dim = queries.shape
    grouped = queries.reshape(rows, len(keys), -1, head_dim)
    scores = np.einsum('rhgd,hld->rhgl', grouped, keys) * head_dim**-0.5
    scores = np.where(is_visible[:, None, None, :], scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.asarray(np.einsum('rhgl,hld->rhgd', shares, values).reshape(rows, -1))


def gelu(x: Array) -> Array:
    """Returns the exact GELU."""
    error = np.vectorize(math.erf)(np.asarray(x) * 0.5**0.5)
    return np.asarray(0.5 * x * (1 + error))
