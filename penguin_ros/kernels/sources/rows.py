# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""Products of several rows with a matrix, on tensor cores: weights are unpacked in the tile, where
they are small integers that 16-bit numbers hold exactly, and sums of float32 get the scales.

Programs beyond the rows of the pass, which `state` tells, leave at once. Buffers have room for
whole tiles, so what stands in rows that do not count may be anything.
"""

import triton
import triton.language as tl

ROWS = tl.constexpr(1)


@triton.jit
def norm_rows(
    x, gain, y,
    SIZE: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """y = rms_norm(x) * gain, a row each."""
    row = tl.program_id(0)
    columns = tl.arange(0, COLUMNS)
    is_there = columns < WIDTH
    value = tl.load(x + row * WIDTH + columns, is_there, 0.0)
    factor = tl.rsqrt(tl.sum(value * value, 0) / SIZE + EPS)
    value *= factor * tl.load(gain + columns, is_there, 0.0)
    tl.store(y + row * WIDTH + columns, value.to(y.dtype.element_ty), is_there)


@triton.jit
def integers_of(words, T: tl.constexpr, BITS: tl.constexpr, kind: tl.constexpr):
    """Returns weight T of each word as a 16-bit number: its bits below the leading one of a number
    with room for them, from which that and half the range are taken off.
    """
    bits = (words >> (BITS * T)) & ((1 << BITS) - 1)
    half: tl.constexpr = 1 << (BITS - 1)
    if kind == tl.float16:
        number = (bits | 0x6400).to(tl.int16).to(tl.float16, bitcast=True)
        number -= tl.full((), 1024.0 + half, tl.float16)
    else:
        wide = (bits | 0x4B000000).to(tl.float32, bitcast=True) - (8388608.0 + half)
        number = wide.to(kind)
    return number


@triton.jit
def packed_tile(
    x, weights, scales, rows, outputs,
    K: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, LINES: tl.constexpr,
    OUTPUTS: tl.constexpr,
):  # fmt: skip
    """Returns the products (LINES, OUTPUTS) of rows of x with packed weights."""
    PER: tl.constexpr = 32 // BITS
    word = tl.arange(0, 16)
    total = tl.zeros((LINES, OUTPUTS), tl.float32)
    for group in range(K // (16 * PER)):
        words = tl.load(weights + outputs[None, :] * (K // PER) + group * 16 + word[:, None])
        place = x + rows[:, None] * K + group * (16 * PER) + word[None, :]
        part = tl.zeros((LINES, OUTPUTS), tl.float32)
        for t in tl.static_range(PER):
            value = tl.load(place + 16 * t)
            part = tl.dot(value, integers_of(words, t, BITS, value.dtype), part)
        scale = tl.load(scales + outputs * (K // BLOCK) + group // (BLOCK // (16 * PER)))
        total += part * scale.to(tl.float32)[None, :]
    return total


@triton.jit
def wide_tile(
    x, weights, rows, outputs,
    K: tl.constexpr, LINES: tl.constexpr, OUTPUTS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Computes the same with 16-bit weights of the type of x, STEP inputs at a time."""
    step = tl.arange(0, STEP)
    total = tl.zeros((LINES, OUTPUTS), tl.float32)
    for first in range(0, K, STEP):
        value = tl.load(x + rows[:, None] * K + (first + step)[None, :])
        weight = tl.load(weights + outputs[None, :] * K + (first + step)[:, None])
        total = tl.dot(value, weight, total)
    return total


@triton.jit
def tile(
    x, weights, scales, rows, outputs,
    K: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, LINES: tl.constexpr,
    OUTPUTS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """One of the two."""
    if BITS == 16:
        total = wide_tile(x, weights, rows, outputs, K, LINES, OUTPUTS, STEP)
    else:
        total = packed_tile(x, weights, scales, rows, outputs, K, BITS, BLOCK, LINES, OUTPUTS)
    return total


@triton.jit
def product_rows(
    state, x, weights, scales, bias, y,
    K: tl.constexpr, N: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr,
    LINES: tl.constexpr, OUTPUTS: tl.constexpr, STEP: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_GELU: tl.constexpr, ADDS: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """y = x @ weights.T, or y += with ADDS; before that a bias is added, and the exact GELU taken.
    FACTOR: by what x is smaller than it should be.
    """
    if tl.program_id(0) * LINES >= tl.load(state + ROWS):
        return
    rows = tl.program_id(0) * LINES + tl.arange(0, LINES)
    outputs = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    total = tile(x, weights, scales, rows, outputs, K, BITS, BLOCK, LINES, OUTPUTS, STEP)
    total *= FACTOR
    if HAS_BIAS:
        total += tl.load(bias + outputs)[None, :]
    if HAS_GELU:
        total *= 0.5 * (1.0 + tl.math.erf(total * 0.7071067811865476))
    place = y + rows[:, None] * N + outputs[None, :]
    if ADDS:
        total += tl.load(place)
    tl.store(place, total.to(y.dtype.element_ty))


@triton.jit
def gated_rows(
    state, x, weights, scales, y,
    K: tl.constexpr, FFN: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr,
    LINES: tl.constexpr, OUTPUTS: tl.constexpr, STEP: tl.constexpr, SHRUNK: tl.constexpr,
):  # fmt: skip
    """y = silu(gate) * up * SHRUNK: the first FFN outputs of weights and the second."""
    if tl.program_id(0) * LINES >= tl.load(state + ROWS):
        return
    rows = tl.program_id(0) * LINES + tl.arange(0, LINES)
    outputs = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    gate = tile(x, weights, scales, rows, outputs, K, BITS, BLOCK, LINES, OUTPUTS, STEP)
    up = tile(x, weights, scales, rows, outputs + FFN, K, BITS, BLOCK, LINES, OUTPUTS, STEP)
    value = gate / (1.0 + tl.exp(-gate)) * up * SHRUNK
    tl.store(y + rows[:, None] * FFN + outputs[None, :], value.to(y.dtype.element_ty))


@triton.jit
def head_rows(
    state, x, weights, scales, logits, best, winners, checks,
    K: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, LINES: tl.constexpr,
    OUTPUTS: tl.constexpr, STEP: tl.constexpr, VOCABULARY: tl.constexpr,
):  # fmt: skip
    """logits = x @ weights.T; by row and program the largest, the token that has it, and 0, or NaN
    where one of these logits is not finite. `choose` joins them.
    """
    if tl.program_id(0) * LINES >= tl.load(state + ROWS):
        return
    rows = tl.program_id(0) * LINES + tl.arange(0, LINES)
    program, programs = tl.program_id(1), tl.num_programs(1)
    outputs = program * OUTPUTS + tl.arange(0, OUTPUTS)
    total = tile(x, weights, scales, rows, outputs, K, BITS, BLOCK, LINES, OUTPUTS, STEP)
    is_token = (outputs < VOCABULARY)[None, :]
    place = logits + rows[:, None].to(tl.int64) * VOCABULARY + outputs[None, :]
    tl.store(place, total, is_token & (rows >= 0)[:, None])
    tl.store(checks + rows * programs + program, tl.sum(tl.where(is_token, total * 0.0, 0.0), 1))
    total = tl.where(is_token, total, float('-inf'))
    high = tl.max(total, 1)
    found = tl.where(total == high[:, None], outputs[None, :], 2147483647)
    tl.store(best + rows * programs + program, high)
    tl.store(winners + rows * programs + program, tl.min(found, 1))
