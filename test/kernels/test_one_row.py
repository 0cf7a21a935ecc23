# SPDX-License-Identifier: Apache-2.0
"""Products of one row, by Triton's interpreter, against numpy in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.kernel_runs import needs_triton, run, some_matrix

from penguin_ros.kernels import reference
from penguin_ros.kernels.interpreter import Interpreter
from penguin_ros.kernels.packing import weights_of
from penguin_ros.kernels.table import Grid, Kernel, pointers

pytestmark = needs_triton


@pytest.fixture(scope='module')
def interpreter() -> Iterator[Interpreter]:
    with Interpreter(8 * 1024 * 1024) as interpreter:
        yield interpreter


@pytest.mark.parametrize('bits', (4, 8))
def test_a_norm_and_a_product_are_those_of_numpy(interpreter: Interpreter, bits: int) -> None:
    draw = np.random.default_rng(bits)
    matrix = some_matrix(draw, (128, 256), bits)
    x = draw.normal(0, 300, 256).astype(np.float32)
    x[200:] = 0
    gain = draw.normal(1, 0.2, 256).astype(np.float32)
    kernel = Kernel(
        'norm_product',
        'one_row.norm_product',
        pointers(x='fp32', gain='fp32', weights='i32', scales='fp16', y='fp32'),
        {'K': 256, 'SIZE': 200, 'EPS': 1e-6, 'BITS': bits, 'BLOCK': 128, 'OUTPUTS': 4, 'STEP': 32},
        Grid(32),
    )
    y = run(interpreter, kernel, x, gain, matrix.words, matrix.scales, np.zeros(128, np.float32))[
        -1
    ]
    wanted = reference.norm_product(
        x[:200].astype(float), gain[:200], weights_of(matrix)[:, :200], 1e-6
    )
    np.testing.assert_allclose(y, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
