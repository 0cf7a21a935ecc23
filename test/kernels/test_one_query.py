# SPDX-License-Identifier: Apache-2.0
"""Attention of one row, by Triton's interpreter, against numpy in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.kernel_runs import needs_triton, run

from penguin_ros.kernels import reference
from penguin_ros.kernels.interpreter import Interpreter
from penguin_ros.kernels.table import Argument, Constant, Grid, Kernel, pointers

pytestmark = needs_triton

HEADS, KV_HEADS, D, SPLITS, PITCH, LAYERS = 4, 2, 16, 4, 48, 2
NO_SCALES = np.zeros(1, np.float32)
SIZES: dict[str, Constant] = {'HEADS': HEADS, 'D': D, 'SPLITS': SPLITS}
TIMES = Kernel(
    'attend_one',
    'one_query.attend_one',
    (
        *pointers(
            state='i64', qkv='fp32', q_gain='fp32', k_gain='fp32', table='fp32', cache='fp16'
        ),
        *pointers(kv_scales='fp32', parts='fp32', sums='fp32'),
        Argument('layer', 'i32', False),
        Argument('pitch', 'i32'),
    ),
    {'EPS': 1e-6, 'BLOCK': 8, 'LINES': 16, 'BFLOAT': False, 'KV_HEADS': KV_HEADS, **SIZES},
    Grid(KV_HEADS, SPLITS),
)
JOIN = Kernel(
    'combine',
    'one_query.combine',
    pointers(parts='fp32', sums='fp32', mixed='fp32'),
    {'WIDTH': HEADS * D, **SIZES},
    Grid(1, HEADS),
)


@pytest.fixture(scope='module')
def interpreter() -> Iterator[Interpreter]:
    with Interpreter(1024 * 1024) as interpreter:
        yield interpreter


@pytest.mark.parametrize('position', (0, 31, 47))
def test_a_row_sees_the_past_and_itself_and_is_written(
    interpreter: Interpreter, position: int
) -> None:
    draw = np.random.default_rng(position)
    cache = draw.normal(size=(2, LAYERS, 2, KV_HEADS, PITCH, D)).astype(np.float16)
    cache[:, :, :, :, position:] = np.nan
    qkv = draw.normal(size=(HEADS + 2 * KV_HEADS, D)).astype(np.float32)
    q_gain, k_gain = draw.normal(1, 0.2, (2, D)).astype(np.float32)
    angles = np.outer(np.arange(PITCH), 0.5 ** np.arange(D // 2))
    table = np.concatenate((np.cos(angles), np.sin(angles)), 1).astype(np.float32)
    state = np.array([position, 1, cache[0].size, 0, 0, 0, 0, 0], np.int64)
    parts = np.full((HEADS, SPLITS, D), np.nan, np.float32)
    sums = np.full((HEADS, SPLITS, 2), np.nan, np.float32)
    *_, found, _, parts, sums, _, _ = run(
        interpreter,
        TIMES,
        state,
        qkv,
        q_gain,
        k_gain,
        table,
        cache,
        NO_SCALES,
        parts,
        sums,
        1,
        PITCH,
    )
    mixed = run(interpreter, JOIN, parts, sums, np.zeros(HEADS * D, np.float32))[-1]

    cosine, sine = (np.tile(np.asarray(f(angles[position])), 2)[None] for f in (np.cos, np.sin))
    heads = qkv[None].astype(float)
    queries = reference.turned(heads[:, :HEADS], q_gain, cosine, sine, 1e-6)
    own = reference.turned(heads[:, HEADS:-KV_HEADS], k_gain, cosine, sine, 1e-6)[0]
    wanted = cache.copy()
    wanted[1, 1, 0, :, position] = own
    wanted[1, 1, 1, :, position] = qkv[-KV_HEADS:]
    np.testing.assert_allclose(found, wanted, rtol=2e-3)
    keys, values = wanted[1, 1, :, :, : position + 1].astype(float)
    result = reference.attend(queries, keys, values, np.ones((1, position + 1), bool))[0]
    np.testing.assert_allclose(mixed, result, atol=2e-3)


def test_beyond_the_slot_nothing_is_written_and_the_result_is_no_number(
    interpreter: Interpreter,
) -> None:
    cache = np.ones((LAYERS, 2, KV_HEADS, PITCH, D), np.float16)
    qkv = np.ones((HEADS + 2 * KV_HEADS, D), np.float32)
    gain, table = np.ones(D, np.float32), np.ones((PITCH, D), np.float32)
    state = np.array([PITCH, 1, 0, 0, 0, 0, 0, 0], np.int64)
    parts, sums = np.zeros((HEADS, SPLITS, D), np.float32), np.zeros((HEADS, SPLITS, 2), np.float32)
    *_, found, _, parts, sums, _, _ = run(
        interpreter, TIMES, state, qkv, gain, gain, table, cache, NO_SCALES, parts, sums, 1, PITCH
    )
    mixed = run(interpreter, JOIN, parts, sums, np.zeros(HEADS * D, np.float32))[-1]
    np.testing.assert_array_equal(found, cache)
    assert np.isnan(mixed).all()
