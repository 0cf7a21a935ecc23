# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""Attention of several rows: over the cache, behind any mask, and in the encoder over all patches
of a frame, whose keys and values lie as those of one layer of a cache. Scores exist in a tile only.
"""

import triton
import triton.language as tl

from penguin_ros.kernels.sources.one_query import rounded

POSITION = tl.constexpr(0)
ROWS = tl.constexpr(1)
OFFSET = tl.constexpr(2)
LENGTH = tl.constexpr(4)


@triton.jit
def turn_rows(
    state, qkv, q_gain, k_gain, table, angles, queries, cache, kv_scales, layer, pitch,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, D: tl.constexpr, EPS: tl.constexpr,
    QKV: tl.constexpr, WIDTH: tl.constexpr, LINES: tl.constexpr, IS_GRID: tl.constexpr,
):  # fmt: skip
    """Norms and turns the heads of a row of qkv: queries, times D ** -0.5, go to `queries`, keys
    and values to the cache, behind the positions that are there. Row i turns by row angles[i] of
    the table. LINES: the heads of a row, filled up.
    """
    row = tl.program_id(0)
    if row >= tl.load(state + ROWS):
        return
    at, line = tl.arange(0, D), tl.arange(0, LINES)
    source = qkv + row * QKV + (tl.minimum(line, HEADS + 2 * KV_HEADS - 1) * D)[:, None]
    is_query = (line < HEADS)[:, None]
    gain = tl.where(is_query, tl.load(q_gain + at)[None, :], tl.load(k_gain + at)[None, :])
    other = (at + D // 2) % D
    pair = tl.where(is_query, tl.load(q_gain + other)[None, :], tl.load(k_gain + other)[None, :])
    x = tl.load(source + at[None, :])
    factor = tl.rsqrt(tl.sum(x * x, 1) / D + EPS)[:, None]
    y = tl.load(source + other[None, :]) * pair
    y = tl.where(at[None, :] < D // 2, -y, y)
    angle = at if IS_GRID else at % (D // 2)
    table += tl.load(angles + row).to(tl.int64) * (2 * D if IS_GRID else D)
    cosine = tl.load(table + angle)[None, :]
    sine = tl.load(table + (D if IS_GRID else D // 2) + angle)[None, :]
    turn = (x * gain * cosine + y * sine) * factor
    place = queries + row * WIDTH + line[:, None] * D + at[None, :]
    tl.store(place, (turn * (D**-0.5)).to(queries.dtype.element_ty), is_query & (at >= 0)[None, :])
    position = tl.load(state + POSITION) + row
    lines = (layer * (2 * KV_HEADS) + line - HEADS).to(tl.int64) * pitch + position
    offset = tl.multiple_of(tl.load(state + OFFSET), 16)
    place = cache + offset + lines[:, None] * D + at[None, :]
    is_turned = (line < HEADS + KV_HEADS)[:, None]
    is_kept = (line >= HEADS) & (line < HEADS + 2 * KV_HEADS) & (line + position < line + pitch)
    value = tl.where(is_turned, turn, x)
    if cache.dtype.element_ty == tl.int8:
        kept, scale = rounded(value)
        tl.store(place, kept, is_kept[:, None] & (at >= 0)[None, :])
        tl.store(kv_scales + offset // D + lines, scale, is_kept)
    else:
        kept = value.to(cache.dtype.element_ty)
        tl.store(place, kept, is_kept[:, None] & (at >= 0)[None, :])


@triton.jit
def attend_rows(
    state, queries, cache, kv_scales, mask, mixed, parts, sums, layer, pitch,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr,
    LINES: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, SIGHT: tl.constexpr,
):  # fmt: skip
    """LINES queries of the heads that share one of keys, a row's heads in turn, see a part of the
    length. SIGHT 'causal': each row all positions up to its own; 'mask': those whose bits are set
    in its row of `mask`, words of 32, the lowest bit first; 'all': state[LENGTH] positions.
    With one split the mix goes to `mixed`, with several to `parts` and `sums`, for `combine`.
    """
    GROUPS: tl.constexpr = HEADS // KV_HEADS
    TALL: tl.constexpr = LINES // GROUPS
    first_row, head, split = tl.program_id(0) * TALL, tl.program_id(1), tl.program_id(2)
    count = tl.load(state + ROWS).to(tl.int32)
    if first_row >= count:
        return
    line = tl.arange(0, LINES)
    row = first_row + line // GROUPS
    query_head = head * GROUPS + line % GROUPS
    past = tl.load(state + POSITION).to(tl.int32)
    if SIGHT == 'all':
        length = tl.load(state + LENGTH).to(tl.int32)
    elif SIGHT == 'mask':
        length = past + count
    else:
        length = past + tl.minimum(first_row + TALL, count)
    share = tl.cdiv(tl.minimum(length, pitch), SPLITS * BLOCK) * BLOCK
    start = split * share
    end = tl.minimum(start + share, tl.minimum(length, pitch))
    at = tl.arange(0, D)
    query = tl.load(queries + (row * WIDTH + query_head * D)[:, None] + at[None, :])
    # Beyond the end of the slot a row's result is no number.
    fault = tl.where(past + row < pitch, 0.0, float('nan'))
    INT8: tl.constexpr = cache.dtype.element_ty == tl.int8
    kind: tl.constexpr = queries.dtype.element_ty
    offset = tl.multiple_of(tl.load(state + OFFSET), 16)
    first_line = (layer * (2 * KV_HEADS) + head).to(tl.int64) * pitch
    keys = cache + offset + first_line * D
    values = keys + KV_HEADS * pitch.to(tl.int64) * D
    key_scales = kv_scales + offset // D + first_line
    value_scales = key_scales + KV_HEADS * pitch.to(tl.int64)
    high = tl.full((LINES,), float('-inf'), tl.float32)
    weight = tl.zeros((LINES,), tl.float32)
    mix = tl.zeros((LINES, D), tl.float32)
    for first in range(start, end, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        is_held = columns < end
        block = tl.load(keys + columns[:, None] * D + at[None, :], is_held[:, None], 0)
        scores = tl.dot(query, tl.trans(block.to(kind)))
        if INT8:
            scores *= tl.load(key_scales + columns, is_held, 0.0)[None, :]
        if SIGHT != 'all':
            scores += fault[:, None]
        is_seen = is_held[None, :] & (row >= 0)[:, None]
        if SIGHT == 'causal':
            is_seen = is_seen & (columns[None, :] <= past + row[:, None])
        if SIGHT == 'mask':
            bits = mask + row[:, None] * tl.cdiv(pitch, 32) + (columns // 32)[None, :]
            is_seen = is_seen & ((tl.load(bits, is_seen, 0) >> (columns % 32)[None, :]) & 1 != 0)
        scores = tl.where(is_seen, scores, float('-inf'))
        higher = tl.maximum(high, tl.max(scores, 1))
        # A row that has seen nothing so far has no largest score to take off.
        base = tl.where(higher == float('-inf'), 0.0, higher)
        shrink = tl.exp(high - base)
        shares = tl.exp(scores - base[:, None])
        block = tl.load(values + columns[:, None] * D + at[None, :], is_held[:, None], 0)
        if INT8:
            scale = tl.load(value_scales + columns, is_held, 0.0)
            block = (block.to(tl.float32) * scale[:, None]).to(kind)
        mix = tl.dot(shares.to(block.dtype), block, mix * shrink[:, None])
        weight = weight * shrink + tl.sum(shares, 1)
        high = higher
    if SPLITS == 1:
        mix = mix / weight[:, None]
        place = mixed + (row * WIDTH + query_head * D)[:, None] + at[None, :]
        tl.store(place, mix.to(mixed.dtype.element_ty))
    else:
        place = (row * HEADS + query_head) * SPLITS + split
        tl.store(parts + place[:, None] * D + at[None, :], mix)
        tl.store(sums + place * 2, high)
        tl.store(sums + place * 2 + 1, weight)
