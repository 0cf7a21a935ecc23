# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""Products of one row of activations with a matrix: what writing a token consists of. Each program
computes OUTPUTS outputs, reads their weights once, 16 bytes a thread, and adds in float32.
"""

import triton
import triton.language as tl

from penguin_ros.kernels.sources.unpacking import SHRUNK, number_of, raised


@triton.jit
def packed_dot(
    x, gain, weights, scales, outputs,
    K: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, OUTPUTS: tl.constexpr,
    STEP: tl.constexpr, HAS_GAIN: tl.constexpr,
):  # fmt: skip
    """Returns the products (OUTPUTS,) of x times gain with the weights of `outputs`, and the sum of
    the squares of x; STEP is in words.
    """
    PER: tl.constexpr = 32 // BITS
    GROUPS: tl.constexpr = STEP // 16
    group, word = tl.arange(0, GROUPS), tl.arange(0, 16)
    sums = tl.zeros((OUTPUTS, GROUPS, 16), tl.float32)
    squares = tl.zeros((GROUPS, 16), tl.float32)
    for first in range(0, K // (16 * PER), GROUPS):
        at = first + group
        line = outputs[:, None] * (K // (16 * PER)) + at[None, :]
        words = tl.load(weights + line[:, :, None] * 16 + word[None, None, :])
        place = at[:, None] * (16 * PER) + word[None, :]
        part = tl.zeros((OUTPUTS, GROUPS, 16), tl.float32)
        added = tl.zeros((GROUPS, 16), tl.float32)
        for t in tl.static_range(PER):
            value = tl.load(x + place + 16 * t)
            if HAS_GAIN:
                squares += value * value
                value *= tl.load(gain + place + 16 * t)
            added += value
            part += number_of(words, t, BITS) * raised(value, t, BITS)[None, :, :]
        block = outputs[:, None] * (K // BLOCK) + (at // (BLOCK // (16 * PER)))[None, :]
        scale = tl.load(scales + block).to(tl.float32)
        # What half the range, which was added to each weight, has added.
        part -= added[None, :, :] * ((1 << (BITS - 1)) * SHRUNK)
        sums += part * scale[:, :, None]
    return tl.sum(tl.sum(sums, 2), 1) * (1.0 / SHRUNK), tl.sum(tl.sum(squares, 1), 0)


@triton.jit
def wide_dot(
    x, gain, weights, outputs,
    K: tl.constexpr, OUTPUTS: tl.constexpr, STEP: tl.constexpr, HAS_GAIN: tl.constexpr,
):  # fmt: skip
    """Computes the same with 16-bit weights; STEP is in weights."""
    step = tl.arange(0, STEP)
    sums = tl.zeros((OUTPUTS, STEP), tl.float32)
    squares = tl.zeros((STEP,), tl.float32)
    for first in range(0, K, STEP):
        at = first + step
        value = tl.load(x + at)
        if HAS_GAIN:
            squares += value * value
            value *= tl.load(gain + at)
        weight = tl.load(weights + outputs[:, None] * K + at[None, :])
        sums += weight.to(tl.float32) * value[None, :]
    return tl.sum(sums, 1), tl.sum(squares, 0)


@triton.jit
def dot(
    x, gain, weights, scales, outputs,
    K: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, OUTPUTS: tl.constexpr,
    STEP: tl.constexpr, HAS_GAIN: tl.constexpr,
):  # fmt: skip
    """One of the two."""
    if BITS == 16:
        total, squares = wide_dot(x, gain, weights, outputs, K, OUTPUTS, STEP, HAS_GAIN)
    else:
        total, squares = packed_dot(
            x, gain, weights, scales, outputs, K, BITS, BLOCK, OUTPUTS, STEP, HAS_GAIN
        )
    return total, squares


@triton.jit
def norm_product(
    x, gain, weights, scales, y,
    K: tl.constexpr, SIZE: tl.constexpr, EPS: tl.constexpr, BITS: tl.constexpr,
    BLOCK: tl.constexpr, OUTPUTS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """y = weights @ (rms_norm(x) * gain). The norm's factor is the same for all products, so it is
    applied to their sums, and x is read once.
    """
    outputs = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    total, squares = dot(
        x, gain, weights, scales, outputs, K, BITS, BLOCK, OUTPUTS, STEP, HAS_GAIN=True
    )
    tl.store(y + outputs, total * tl.rsqrt(squares / SIZE + EPS))


@triton.jit
def add_product(
    x, weights, scales, y,
    K: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, OUTPUTS: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    """y += weights @ x."""
    outputs = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    total, _ = dot(x, x, weights, scales, outputs, K, BITS, BLOCK, OUTPUTS, STEP, HAS_GAIN=False)
    tl.store(y + outputs, tl.load(y + outputs) + total)


@triton.jit
def gated_product(
    x, gain, weights, scales, y,
    K: tl.constexpr, SIZE: tl.constexpr, EPS: tl.constexpr, BITS: tl.constexpr,
    BLOCK: tl.constexpr, OUTPUTS: tl.constexpr, STEP: tl.constexpr, FFN: tl.constexpr,
):  # fmt: skip
    """y = silu(gate) * up, both products of rms_norm(x) * gain: the first FFN outputs of weights
    and the second.
    """
    outputs = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    gate, squares = dot(
        x, gain, weights, scales, outputs, K, BITS, BLOCK, OUTPUTS, STEP, HAS_GAIN=True
    )
    up, _ = dot(
        x, gain, weights, scales, outputs + FFN, K, BITS, BLOCK, OUTPUTS, STEP, HAS_GAIN=True
    )
    factor = tl.rsqrt(squares / SIZE + EPS)
    gate *= factor
    tl.store(y + outputs, gate / (1.0 + tl.exp(-gate)) * (up * factor))
