# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""Attention of one row over the cache, split over its length, so that a few heads fill a card. The
row's own key and value are made here, and written to the cache by the program that has their place.

The cache holds, from a slot's offset on, for every layer the keys of all heads, then the values, as
rows of `pitch` positions. Where it is int8, `kv_scales` holds a number for each of them in the same
order, by which its integers are multiplied.
"""

import triton
import triton.language as tl

POSITION = tl.constexpr(0)
OFFSET = tl.constexpr(2)


@triton.jit
def turned(source, gain, table, D: tl.constexpr, EPS: tl.constexpr):
    """Returns heads, whose numbers (n, D) begin at `source` (n, 1), normed and turned: x * cos +
    rotate_half(x) * sin. A row of the table holds cos and sin of D / 2 angles.
    """
    at = tl.arange(0, D)
    other = (at + D // 2) % D
    x = tl.load(source + at[None, :])
    factor = tl.rsqrt(tl.sum(x * x, 1) / D + EPS)[:, None]
    x *= tl.load(gain + at)[None, :]
    y = tl.load(source + other[None, :]) * tl.load(gain + other)[None, :]
    y = tl.where(at[None, :] < D // 2, -y, y)
    cosine = tl.load(table + at % (D // 2))[None, :]
    sine = tl.load(table + D // 2 + at % (D // 2))[None, :]
    return (x * cosine + y * sine) * factor


@triton.jit
def rounded(values):
    """Returns rows (n, D) as int8 and the scale of each (n,): NaN where a number is not finite."""
    scale = tl.max(tl.abs(values), 1) * (1.0 / 127.0) + tl.sum(values * 0.0, 1)
    inverse = tl.where(scale > 0.0, 1.0 / scale, 0.0)
    return tl.floor(values * inverse[:, None] + 0.5).to(tl.int8), scale


@triton.jit
def attend_one(
    state, qkv, q_gain, k_gain, table, cache, kv_scales, parts, sums, layer, pitch,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, D: tl.constexpr, EPS: tl.constexpr,
    SPLITS: tl.constexpr, BLOCK: tl.constexpr, LINES: tl.constexpr, BFLOAT: tl.constexpr,
):  # fmt: skip
    """Mixes values of one head of keys and one part of the length for the queries that share it;
    leaves the mix (D), unnormed, and its largest score and the sum of its weights, for `combine`.
    LINES is the number of these queries, filled up to what a tensor core multiplies. BFLOAT: what
    multiplies integers of the cache is bfloat16, else float16.
    """
    GROUPS: tl.constexpr = HEADS // KV_HEADS
    head, split = tl.program_id(0), tl.program_id(1)
    position = tl.load(state + POSITION).to(tl.int32)
    row = tl.minimum(position, pitch - 1)
    share = tl.cdiv(row + 1, SPLITS * BLOCK) * BLOCK
    start = split * share
    line = tl.arange(0, LINES)
    is_query = line < GROUPS
    place = (head * GROUPS + line) * SPLITS + split
    if start > row:
        tl.store(sums + place * 2, tl.full((LINES,), float('-inf'), tl.float32), is_query)
        tl.store(sums + place * 2 + 1, tl.zeros((LINES,), tl.float32), is_query)
        return
    at = tl.arange(0, D)
    table += row * D
    INT8: tl.constexpr = cache.dtype.element_ty == tl.int8
    WIDE: tl.constexpr = tl.bfloat16 if BFLOAT else tl.float16
    kind: tl.constexpr = WIDE if INT8 else cache.dtype.element_ty
    own = qkv + (HEADS + head + tl.zeros((1, 1), tl.int32)) * D
    # What others will read of this row is rounded to the cache's format; so is what it sees itself.
    key = turned(own, k_gain, table, D, EPS)
    value = tl.load(own + KV_HEADS * D + at[None, :])
    if INT8:
        kept_key, key_scale = rounded(key)
        kept_value, value_scale = rounded(value)
        key = kept_key.to(tl.float32) * key_scale[:, None]
        value = kept_value.to(tl.float32) * value_scale[:, None]
    else:
        kept_key, kept_value = key.to(kind), value.to(kind)
        key, value = kept_key.to(tl.float32), kept_value.to(tl.float32)
    shared = tl.where(is_query, line, 0)
    queries = qkv + ((head * GROUPS + shared) * D)[:, None]
    # Beyond the end of the slot nothing is written, and the result is no number.
    factor = tl.where(position < pitch, D**-0.5, float('nan'))
    query = (turned(queries, q_gain, table, D, EPS) * factor).to(kind)
    offset = tl.multiple_of(tl.load(state + OFFSET), 16)
    first_line = (layer * (2 * KV_HEADS) + head).to(tl.int64) * pitch
    keys = cache + offset + first_line * D
    values = keys + KV_HEADS * pitch.to(tl.int64) * D
    key_scales = kv_scales + offset // D + first_line
    value_scales = key_scales + KV_HEADS * pitch.to(tl.int64)
    is_last = start + share > row
    if is_last:
        fits = tl.zeros((1, D), tl.int32) + position < pitch
        tl.store(keys + row * D + at[None, :], kept_key, fits)
        tl.store(values + row * D + at[None, :], kept_value, fits)
        if INT8:
            is_held = tl.zeros((1,), tl.int32) + position < pitch
            only = tl.zeros((1,), tl.int32) + row
            tl.store(key_scales + only, key_scale, is_held)
            tl.store(value_scales + only, value_scale, is_held)
    high = tl.sum(query.to(tl.float32) * key, 1)
    high = tl.where(is_last, high, float('-inf'))
    weight = tl.zeros((LINES,), tl.float32) + tl.where(is_last, 1.0, 0.0)
    mixed = tl.zeros((LINES, D), tl.float32) + tl.where(is_last, value, 0.0)
    end = tl.minimum(start + share, row)
    for first in range(start, end, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        is_past = columns < end
        block = tl.load(keys + columns[:, None] * D + at[None, :], is_past[:, None], 0)
        scores = tl.dot(query, tl.trans(block.to(kind)))
        if INT8:
            scores *= tl.load(key_scales + columns, is_past, 0.0)[None, :]
        scores = tl.where(is_past[None, :], scores, float('-inf'))
        higher = tl.maximum(high, tl.max(scores, 1))
        shrink = tl.exp(high - higher)
        shares = tl.exp(scores - higher[:, None])
        block = tl.load(values + columns[:, None] * D + at[None, :], is_past[:, None], 0)
        if INT8:
            scale = tl.load(value_scales + columns, is_past, 0.0)
            block = (block.to(tl.float32) * scale[:, None]).to(kind)
        mixed = tl.dot(shares.to(kind), block, mixed * shrink[:, None])
        weight = weight * shrink + tl.sum(shares, 1)
        high = higher
    tl.store(parts + place[:, None] * D + at[None, :], mixed, is_query[:, None])
    tl.store(sums + place * 2, high, is_query)
    tl.store(sums + place * 2 + 1, weight, is_query)


@triton.jit
def combine(
    parts, sums, mixed,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, D: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Joins the parts of a head of a row."""
    row, head = tl.program_id(0), tl.program_id(1)
    split = tl.arange(0, SPLITS)
    place = (row * HEADS + head) * SPLITS + split
    high = tl.load(sums + place * 2)
    weight = tl.load(sums + place * 2 + 1)
    factor = tl.where(weight == 0.0, 0.0, tl.exp(high - tl.max(high, 0)))
    at = tl.arange(0, D)
    is_there = (weight != 0.0)[:, None] & (at[None, :] < D)
    part = tl.load(parts + place[:, None] * D + at[None, :], is_there, 0.0)
    total = tl.sum(part * factor[:, None], 0) / tl.sum(weight * factor, 0)
    tl.store(mixed + row * WIDTH + head * D + at, total.to(mixed.dtype.element_ty))
