# SPDX-License-Identifier: Apache-2.0
"""What each kernel does to memory, in numpy: much faster than Triton's interpreter, and written
apart from the kernels. A test holds the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from support.fake_gpu.kernel_arguments import NUMBER, LaunchArguments
from support.fake_gpu.memory import FakeGpu, GpuFault

from penguin_ros.kernels.packing import GROUP
from penguin_ros.kernels.table import Kernel

POSITION, ROWS, OFFSET, STEP_NUMBER, LENGTH = range(5)
erf = np.vectorize(math.erf, otypes=[np.float64])


def run_in_numpy(
    gpu: FakeGpu, kernel: Kernel | None, grid: tuple[int, ...], values: tuple[int | float, ...]
) -> None:
    """Computes a launch."""
    assert kernel is not None, 'a real image: only the interpreter can run it'
    with np.errstate(all='ignore'):
        KERNELS[kernel.source](LaunchArguments(gpu, kernel, grid, values))


def weights(a: LaunchArguments, first: int, count: int) -> np.ndarray:
    """Returns rows of the matrix of a product as numbers."""
    if a.BITS == 16:
        return a.wide('weights', first + count, a.K)[first:]
    per, half = 32 // a.BITS, 1 << (a.BITS - 1)
    words = a.array('weights', first + count, a.K // per)[first:].view(np.uint32)
    words = words.reshape(count, -1, 1, GROUP)
    shifts = np.arange(per, dtype=np.uint32)[:, None] * np.uint32(a.BITS)
    stored = ((words >> shifts) & np.uint32((1 << a.BITS) - 1)).astype(NUMBER[0]) - half
    scales = a.wide('scales', first + count, a.K // a.BLOCK)[first:]
    return stored.reshape(count, a.K) * np.repeat(scales, a.BLOCK, axis=1)


def normed(a: LaunchArguments, x: np.ndarray, size: int) -> np.ndarray:
    """Returns rows over the root of their mean square, times the gain."""
    factor = 1 / np.sqrt(np.square(x).sum(-1, keepdims=True) / size + a.EPS)
    return x * np.float32(1) * factor * a.wide('gain', x.shape[-1])


def norm_product(a: LaunchArguments) -> None:
    count = a.grid[0] * a.OUTPUTS
    a.array('y', count)[:] = weights(a, 0, count) @ normed(a, a.wide('x', a.K), a.SIZE)


def add_product(a: LaunchArguments) -> None:
    count = a.grid[0] * a.OUTPUTS
    a.array('y', count)[:] += weights(a, 0, count) @ a.wide('x', a.K)


def gated_product(a: LaunchArguments) -> None:
    count = a.grid[0] * a.OUTPUTS
    x = normed(a, a.wide('x', a.K), a.SIZE)
    gate = weights(a, 0, count) @ x
    up = weights(a, a.FFN, count) @ x
    a.array('y', count)[:] = gate / (1 + np.exp(-gate)) * up


def turned(
    a: LaunchArguments, heads: np.ndarray, gain: str, cosine: np.ndarray, sine: np.ndarray
) -> np.ndarray:
    """Returns heads (..., D) normed and turned by the angles (..., D / 2)."""
    factor = 1 / np.sqrt(np.square(heads).mean(-1, keepdims=True) + a.EPS)
    first, second = np.split(heads * factor * a.wide(gain, a.D), 2, axis=-1)
    return np.concatenate((first * cosine - second * sine, second * cosine + first * sine), -1)


def attend_one(a: LaunchArguments) -> None:
    state = a.array('state', 4)
    position, groups, half = int(state[POSITION]), a.HEADS // a.KV_HEADS, a.D // 2
    row = min(position, a.pitch - 1)
    angles = a.array('table', row + 1, a.D)[row]
    cosine, sine = angles[:half], angles[half:]
    heads = a.array('qkv', a.HEADS + 2 * a.KV_HEADS, a.D)
    queries = turned(a, heads[: a.HEADS], 'q_gain', cosine, sine) * a.D**-0.5
    own = turned(a, heads[a.HEADS : a.HEADS + a.KV_HEADS], 'k_gain', cosine, sine)
    mine = heads[a.HEADS + a.KV_HEADS :]
    layer = CachedLayer(a, state)
    parts = a.array('parts', a.HEADS, a.SPLITS, a.D)
    sums = a.array('sums', a.HEADS, a.SPLITS, 2)
    sums[..., 0], sums[..., 1] = -np.inf, 0
    if position >= a.pitch:
        parts[:], sums[:] = np.nan, np.nan
        return
    layer.write(0, position, own[:, None])
    layer.write(1, position, mine[:, None])
    keys, values = (layer.read(kind, position + 1) for kind in range(2))
    queries = layer.as_multiplied(queries)
    scores = (queries.reshape(a.KV_HEADS, groups, a.D) @ keys.transpose(0, 2, 1)).reshape(
        a.HEADS, -1
    )
    share = -(-(position + 1) // (a.SPLITS * a.BLOCK)) * a.BLOCK
    for split in range(a.SPLITS):
        here = slice(split * share, min((split + 1) * share, position + 1))
        if here.start >= position + 1:
            continue
        high = scores[:, here].max(1)
        shares = np.exp(scores[:, here] - high[:, None])
        part = shares.reshape(a.KV_HEADS, groups, -1) @ values[:, here]
        parts[:, split] = part.reshape(a.HEADS, a.D)
        sums[:, split, 0], sums[:, split, 1] = high, shares.sum(1)


class CachedLayer:
    """The keys and values of a layer, (2, KV_HEADS, pitch, D), as they are stored, and the scales
    of int8 ones.
    """

    def __init__(self, a: LaunchArguments, state: np.ndarray) -> None:
        self._a = a
        lines, offset = 2 * a.KV_HEADS * a.pitch, int(state[OFFSET])
        self._numbers = self._part('cache', offset, lines * a.D).reshape(2, a.KV_HEADS, -1, a.D)
        self._has_scales = a.kind('cache') == 'i8'
        if self._has_scales:
            scales = self._part('kv_scales', offset // a.D, lines)
            self._scales = scales.reshape(2, a.KV_HEADS, a.pitch)

    def _part(self, name: str, offset: int, size: int) -> np.ndarray:
        found = self._a.all(name)[offset:][self._a.layer * size : (self._a.layer + 1) * size]
        if len(found) < size:
            raise GpuFault(f'a layer beyond the end of {name}')
        return found

    def write(self, kind: int, position: int, rows: np.ndarray) -> None:
        """Stores rows (KV_HEADS, n, D) from a position on."""
        here = slice(position, position + rows.shape[1])
        if not self._has_scales:
            self._numbers[kind, :, here] = self._a.narrowed('cache', rows)
            return
        scales = np.abs(rows).max(-1) / 127 + (rows * 0).sum(-1)
        inverse = np.where(scales > 0, 1 / scales, 0)
        self._numbers[kind, :, here] = np.floor(rows * inverse[..., None] + 0.5).astype(np.int8)
        self._scales[kind, :, here] = scales

    def read(self, kind: int, length: int) -> np.ndarray:
        """Returns the first positions of a kind as numbers."""
        numbers = self._a.widened('cache', self._numbers[kind, :, :length])
        return numbers * self._scales[kind, :, :length, None] if self._has_scales else numbers

    def as_multiplied(self, queries: np.ndarray) -> np.ndarray:
        """Returns queries rounded to what keys are multiplied with."""
        if self._has_scales:
            return queries if self._a.BFLOAT else queries.astype(np.float16).astype(np.float32)
        return self._a.widened('cache', self._a.narrowed('cache', queries))


def turn_rows(a: LaunchArguments) -> None:
    state, half = a.array('state', 4), a.D // 2
    rows, past, every = int(state[ROWS]), int(state[POSITION]), a.HEADS + 2 * a.KV_HEADS
    heads = a.array('qkv', rows, a.QKV)[:, : every * a.D].reshape(rows, every, a.D)
    angles = a.array('angles', rows)
    lines = a.array('table', int(angles.max()) + 1, 2 * a.D if a.IS_GRID else a.D)[angles]
    if a.IS_GRID:
        cosine, sine = lines[:, None, : a.D], lines[:, None, a.D :]
    else:
        cosine, sine = (np.tile(each, 2)[:, None] for each in np.split(lines, 2, axis=-1))

    def moved(part: np.ndarray, gain: str) -> np.ndarray:
        factor = 1 / np.sqrt(np.square(part).mean(-1, keepdims=True) + a.EPS)
        normed = part * factor * a.wide(gain, a.D)
        rotated = np.concatenate((-normed[..., half:], normed[..., :half]), -1)
        return normed * cosine + rotated * sine

    queries = moved(heads[:, : a.HEADS], 'q_gain') * a.D**-0.5
    place = a.array('queries', rows, a.WIDTH)
    place[:, : a.HEADS * a.D] = a.narrowed('queries', queries.reshape(rows, -1))
    keys = moved(heads[:, a.HEADS : a.HEADS + a.KV_HEADS], 'k_gain')
    values = heads[:, a.HEADS + a.KV_HEADS :]
    layer = CachedLayer(a, state)
    fit = max(0, min(rows, a.pitch - past))
    for kind, part in enumerate((keys, values)):
        layer.write(kind, past, part[:fit].transpose(1, 0, 2))


def attend_rows(a: LaunchArguments) -> None:
    state, groups = a.array('state', 5), a.HEADS // a.KV_HEADS
    rows, past = int(state[ROWS]), int(state[POSITION])
    tall = -(-rows // (a.LINES // groups)) * (a.LINES // groups)
    a.array('queries', tall, a.WIDTH), a.array('mixed', tall, a.WIDTH)
    queries = a.wide('queries', rows, a.WIDTH)[:, : a.HEADS * a.D]
    queries = queries.reshape(rows, a.KV_HEADS, groups, a.D)
    length = min(int(state[LENGTH]) if a.SIGHT == 'all' else past + rows, a.pitch)
    layer = CachedLayer(a, state)
    keys, values = (layer.read(kind, length) for kind in range(2))
    columns = np.arange(length)
    seen = np.ones((rows, length), bool)
    if a.SIGHT == 'causal':
        seen = columns <= past + np.arange(rows)[:, None]
    elif a.SIGHT == 'mask':
        words = a.array('mask', rows, -(-a.pitch // 32)).view(np.uint32)
        seen = (words[:, columns // 32] >> (columns % 32).astype(np.uint32)) & 1 != 0
    scores = np.einsum('rhgd,hld->rhgl', queries, keys)
    scores = np.where(seen[:, None, None], scores, -np.inf).reshape(rows, a.HEADS, length)
    if a.SPLITS == 1:
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares = (shares / shares.sum(-1, keepdims=True)).reshape(rows, a.KV_HEADS, groups, -1)
        mixed = np.einsum('rhgl,hld->rhgd', shares, values).reshape(rows, -1)
        place = a.array('mixed', rows, a.WIDTH)
        place[:, : a.HEADS * a.D] = a.narrowed('mixed', mixed)
        return
    parts = a.array('parts', rows, a.HEADS, a.SPLITS, a.D)
    sums = a.array('sums', rows, a.HEADS, a.SPLITS, 2)
    parts[:] = 0
    sums[..., 0], sums[..., 1] = -np.inf, 0
    share = -(-length // (a.SPLITS * a.BLOCK)) * a.BLOCK
    for split in range(a.SPLITS):
        here = slice(split * share, min((split + 1) * share, length))
        if here.start >= length:
            continue
        high = scores[..., here].max(-1)
        base = np.where(np.isneginf(high), 0, high)
        shares = np.exp(scores[..., here] - base[..., None])
        grouped = shares.reshape(rows, a.KV_HEADS, groups, -1)
        part = np.einsum('rhgl,hld->rhgd', grouped, values[:, here])
        parts[:, :, split] = part.reshape(rows, a.HEADS, a.D)
        sums[:, :, split, 0], sums[:, :, split, 1] = high, shares.sum(-1)


def norm_rows(a: LaunchArguments) -> None:
    rows = a.grid[0]
    x = normed(a, a.wide('x', rows, a.WIDTH), a.SIZE)
    a.array('y', rows, a.WIDTH)[:] = a.narrowed('y', x)


def whole_tiles(a: LaunchArguments, rows: int, **widths: int) -> None:
    """GpuFault unless there is memory for all rows of the tiles that `rows` begin."""
    for name, width in widths.items():
        a.array(name, -(-rows // a.LINES) * a.LINES, width)


def product_rows(a: LaunchArguments) -> None:
    rows, count = int(a.array('state', 2)[ROWS]), a.grid[1] * a.OUTPUTS
    whole_tiles(a, rows, x=a.K, y=a.N)
    total = a.wide('x', rows, a.K) @ weights(a, 0, count).T * np.float32(a.FACTOR)
    if a.HAS_BIAS:
        total += a.wide('bias', count)
    if a.HAS_GELU:
        total *= 0.5 * (1 + erf(total * 0.5**0.5))
    y = a.array('y', rows, a.N)[:, :count]
    y[:] = a.narrowed('y', total + a.widened('y', y) if a.ADDS else total)


def gated_rows(a: LaunchArguments) -> None:
    rows, count = int(a.array('state', 2)[ROWS]), a.grid[1] * a.OUTPUTS
    x = a.wide('x', rows, a.K)
    whole_tiles(a, rows, x=a.K, y=a.FFN)
    gate, up = x @ weights(a, 0, count).T, x @ weights(a, a.FFN, count).T
    value = gate / (1 + np.exp(-gate)) * up * np.float32(a.SHRUNK)
    a.array('y', rows, a.FFN)[:, :count] = a.narrowed('y', value)


def head_rows(a: LaunchArguments) -> None:
    rows, programs = int(a.array('state', 2)[ROWS]), a.grid[1]
    if rows == 0:
        return
    count = programs * a.OUTPUTS
    whole_tiles(a, rows, x=a.K, logits=a.VOCABULARY, best=programs, winners=programs)
    logits = a.wide('x', rows, a.K) @ weights(a, 0, count).T
    a.array('logits', rows, a.VOCABULARY)[:] = logits[:, : a.VOCABULARY]
    real = np.where(np.arange(count) < a.VOCABULARY, logits, -np.inf)
    by_program = real.reshape(rows, programs, a.OUTPUTS)
    winners = by_program.argmax(-1) + np.arange(programs) * a.OUTPUTS
    a.array('best', rows, programs)[:] = by_program.max(-1)
    a.array('winners', rows, programs)[:] = winners
    fine = np.isfinite(logits) | (np.arange(count) >= a.VOCABULARY)
    fine = fine.reshape(rows, programs, -1).all(-1)
    a.array('checks', rows, programs)[:] = np.where(fine, 0, np.nan)


def levels_to_rows(a: LaunchArguments) -> None:
    rows = a.grid[0]
    levels = a.array('levels', rows, 3, a.VALUES // 3)
    table = a.wide('table', 3, 256)
    y = np.zeros((rows, a.WIDTH), np.float32)
    y[:, : a.VALUES] = np.stack([table[i][levels[:, i]] for i in range(3)], 1).reshape(rows, -1)
    a.array('y', rows, a.WIDTH)[:] = a.narrowed('y', y)


def numbers_to_rows(a: LaunchArguments) -> None:
    rows = a.grid[0]
    y = np.zeros((rows, a.WIDTH), np.float32)
    y[:, : a.VALUES] = a.wide('numbers', rows, a.VALUES)
    a.array('y', rows, a.WIDTH)[:] = a.narrowed('y', y)


def merge_rows(a: LaunchArguments) -> None:
    rows = a.grid[0]
    x = normed(a, a.wide('x', rows, a.merged, a.WIDTH), a.SIZE)
    merged = (x * a.wide('shares', a.merged)[:, None]).sum(1)
    a.array('y', rows, a.WIDTH)[:] = a.narrowed('y', merged)


def combine(a: LaunchArguments) -> None:
    rows, heads = a.grid[:2]
    parts = a.array('parts', rows, a.HEADS, a.SPLITS, a.D)
    sums = a.array('sums', rows, a.HEADS, a.SPLITS, 2)
    high, weight = sums[..., 0], sums[..., 1]
    factor = np.where(weight == 0, 0, np.exp(high - high.max(-1, keepdims=True)))
    there = np.where((weight != 0)[..., None], parts, 0)
    total = (there * factor[..., None]).sum(2) / (weight * factor).sum(-1)[..., None]
    mixed = a.array('mixed', rows, a.WIDTH)
    mixed[:, : heads * a.D] = a.narrowed('mixed', total.reshape(rows, heads * a.D))


def gather(a: LaunchArguments) -> None:
    rows = a.grid[0]
    tokens = a.array('tokens', rows)
    x = a.array('x', rows, a.WIDTH)
    x[:] = 0
    is_feature = tokens < 0
    if is_feature.any():
        places = -1 - tokens[is_feature]
        features = a.array('features', int(places.max()) + 1, a.WIDTH)[places, : a.SIZE]
        x[is_feature, : a.SIZE] = a.widened('features', features)
    known = np.minimum(tokens[~is_feature], a.VOCABULARY - 1)
    if len(known):
        table = a.array('table', int(known.max()) + 1, a.WIDTH)[known, : a.SIZE]
        x[~is_feature, : a.SIZE] = a.widened('table', table)


def pick(a: LaunchArguments) -> None:
    rows = a.grid[0]
    wanted = a.array('wanted', rows)
    x = a.array('x', int(wanted.max()) + 1, a.WIDTH)
    a.array('y', rows, a.WIDTH)[:] = x[wanted]


def head(a: LaunchArguments) -> None:
    programs, share = a.grid[0], a.TILES * a.OUTPUTS
    logits = weights(a, 0, programs * share) @ normed(a, a.wide('x', a.K), a.SIZE)
    a.array('logits', a.VOCABULARY)[:] = logits[: a.VOCABULARY]
    real = np.where(np.arange(programs * share) < a.VOCABULARY, logits, -np.inf)
    by_program = real.reshape(programs, share)
    winners = by_program.argmax(1)
    a.array('best', programs)[:] = by_program.max(1)
    a.array('winners', programs)[:] = winners + np.arange(programs) * share
    bad = ~np.isfinite(np.where(np.isneginf(real), 0, real)).reshape(programs, share).all(1)
    a.array('checks', programs)[:] = np.where(bad, np.nan, 0)


def choose(a: LaunchArguments) -> None:
    rows = a.grid[0]
    best, winners = a.array('best', rows, a.COUNT), a.array('winners', rows, a.COUNT)
    checks = a.array('checks', rows, a.COUNT)
    state = a.array('state', 4)
    at = best.argmax(1)
    tokens = winners[np.arange(rows), at]
    logits = best[np.arange(rows), at] + checks.sum(1)
    place = int(state[STEP_NUMBER]) if a.ADVANCES else 0
    a.array('chosen', place + rows)[place:] = tokens
    a.array('chosen_logits', place + rows)[place:] = logits
    if a.ADVANCES:
        a.array('tokens', 1)[:] = tokens
        state[POSITION] += 1
        state[STEP_NUMBER] += 1


KERNELS: dict[str, Callable[[LaunchArguments], None]] = {
    'one_row.norm_product': norm_product,
    'one_row.add_product': add_product,
    'one_row.gated_product': gated_product,
    'one_query.attend_one': attend_one,
    'one_query.combine': combine,
    'tokens.gather': gather,
    'tokens.pick': pick,
    'tokens.head': head,
    'tokens.choose': choose,
    'attention.turn_rows': turn_rows,
    'attention.attend_rows': attend_rows,
    'rows.norm_rows': norm_rows,
    'rows.product_rows': product_rows,
    'rows.gated_rows': gated_rows,
    'rows.head_rows': head_rows,
    'frames.levels_to_rows': levels_to_rows,
    'frames.numbers_to_rows': numbers_to_rows,
    'frames.merge_rows': merge_rows,
}
