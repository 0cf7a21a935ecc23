# SPDX-License-Identifier: Apache-2.0
# mypy: ignore-errors
"""Attention of several rows: over the cache, behind any mask, and in the encoder over all patches
of a frame, whose keys and values lie as those of one layer of a cache. Scores exist in a tile only.
"""

import triton
import triton.language as tl

from penguin_ros.kernels.sources.one_query import turned

POSITION = tl.constexpr(0)
ROWS = tl.constexpr(1)
OFFSET = tl.constexpr(2)
LENGTH = tl.constexpr(4)


@triton.jit
def turn_rows(
    state, qkv, q_gain, k_gain, table, angles, queries, cache, layer, pitch,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, D: tl.constexpr, EPS: tl.constexpr,
    QKV: tl.constexpr, WIDTH: tl.constexpr, IS_GRID: tl.constexpr,
):  # fmt: skip
    """Norms and turns one head of a row of qkv: queries, times D ** -0.5, go to `queries`, keys and
    values to the cache, behind the positions that are there. Row i turns by row angles[i] of the
    table.
    """
    row, head = tl.program_id(0), tl.program_id(1)
    if row >= tl.load(state + ROWS):
        return
    at = tl.arange(0, D)
    source = qkv + row * QKV + head * D
    if head < HEADS + KV_HEADS:
        gain = q_gain if head < HEADS else k_gain
        angle = tl.load(angles + row).to(tl.int64)
        line = table + angle * (2 * D if IS_GRID else D)
        start = source + tl.zeros((1, 1), tl.int32)
        value = turned(start, gain, line, D, EPS, IS_GRID)
    else:
        value = tl.load(source + at[None, :])
    if head < HEADS:
        place = queries + row * WIDTH + head * D + at[None, :]
        tl.store(place, (value * (D**-0.5)).to(queries.dtype.element_ty))
    else:
        position = tl.load(state + POSITION) + row
        lines = (layer * (2 * KV_HEADS) + head - HEADS).to(tl.int64) * pitch + position
        place = cache + tl.multiple_of(tl.load(state + OFFSET), 16) + lines * D + at[None, :]
        fits = tl.zeros((1, D), tl.int64) + position < pitch
        tl.store(place, value.to(cache.dtype.element_ty), fits)


@triton.jit
def attend_rows(
    state, queries, cache, mask, mixed, parts, sums, layer, pitch,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr,
    LINES: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, SIGHT: tl.constexpr,
):  # fmt: skip
    """LINES queries of the heads that share one of keys, a row's heads in turn, see a part of the
    length. SIGHT 'causal': each row all positions up to its own; 'mask': those whose bits are set
    in its row of `mask` (pitch / 32 words), the lowest bit first; 'all': state[LENGTH] positions.
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
    if SIGHT != 'all':
        query = tl.where((past + row < pitch)[:, None], query, float('nan'))
    keys = cache + tl.multiple_of(tl.load(state + OFFSET), 16)
    keys += (layer * (2 * KV_HEADS) + head).to(tl.int64) * pitch * D
    values = keys + KV_HEADS * pitch.to(tl.int64) * D
    high = tl.full((LINES,), float('-inf'), tl.float32)
    weight = tl.zeros((LINES,), tl.float32)
    mix = tl.zeros((LINES, D), tl.float32)
    for first in range(start, end, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        is_held = columns < end
        block = tl.load(keys + columns[:, None] * D + at[None, :], is_held[:, None], 0.0)
        scores = tl.dot(query, tl.trans(block))
        is_seen = is_held[None, :] & (row >= 0)[:, None]
        if SIGHT == 'causal':
            is_seen = is_seen & (columns[None, :] <= past + row[:, None])
        if SIGHT == 'mask':
            bits = mask + row[:, None] * (pitch // 32) + (columns // 32)[None, :]
            is_seen = is_seen & ((tl.load(bits, is_seen, 0) >> (columns % 32)[None, :]) & 1 != 0)
        scores = tl.where(is_seen, scores, float('-inf'))
        higher = tl.maximum(high, tl.max(scores, 1))
        # A row that has seen nothing so far has no largest score to take off.
        base = tl.where(higher == float('-inf'), 0.0, higher)
        shrink = tl.exp(high - base)
        shares = tl.exp(scores - base[:, None])
        block = tl.load(values + columns[:, None] * D + at[None, :], is_held[:, None], 0.0)
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
