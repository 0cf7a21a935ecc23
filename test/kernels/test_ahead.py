# SPDX-License-Identifier: Apache-2.0
"""Kernels compiled for cards that are not here."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kernel_runs import needs_triton

from penguin_ros.errors import BuildRefused
from penguin_ros.kernels.ahead import code_of, compile_ahead, digest_of_sources
from penguin_ros.kernels.table import Grid, Kernel, kernel_of, pointers

KERNEL = Kernel(
    'norm_product',
    'one_row.norm_product',
    pointers(x='fp32', gain='fp32', weights='i32', scales='fp16', y='fp32'),
    {'K': 256, 'SIZE': 256, 'EPS': 1e-6, 'BITS': 4, 'BLOCK': 128, 'OUTPUTS': 4, 'STEP': 32},
    Grid(16),
    warps=1,
)


@needs_triton
def test_a_kernel_for_orin_is_ptx_that_the_driver_of_jetpack_6_takes() -> None:
    (made,) = compile_ahead([KERNEL], 87)
    assert '.version 8.5' in made.ptx and '.target sm_87' in made.ptx
    assert f'.entry {made.symbol}(' in made.ptx
    assert 0 < made.registers < 256 and made.spilled_bytes == 0
    assert made.cubin.startswith(b'\x7fELF')


@needs_triton
@pytest.mark.slow
def test_a_kernel_that_does_not_compile_is_named() -> None:
    wrong = Kernel('odd', KERNEL.source, KERNEL.arguments, {**KERNEL.constants, 'STEP': 7}, Grid(1))
    with pytest.raises(BuildRefused, match='odd does not compile for sm_90'):
        compile_ahead([KERNEL, wrong], 90)


def test_a_kernel_comes_back_from_json() -> None:
    assert kernel_of(KERNEL.as_json()) == KERNEL


def test_the_digest_follows_what_a_kernel_is_compiled_with() -> None:
    other = Kernel('other', KERNEL.source, KERNEL.arguments, KERNEL.constants, KERNEL.grid)
    assert digest_of_sources([KERNEL]) == digest_of_sources([kernel_of(KERNEL.as_json())])
    assert digest_of_sources([KERNEL]) != digest_of_sources([other])


def test_words_about_a_kernel_do_not_make_it_another(tmp_path: Path) -> None:
    texts = (
        '"""Two files."""\nX = "name"  # a comment\n\n\ndef f():\n    """Says."""\n    return X\n',
        'X = "name"\n\n\ndef f():\n    return X\n',
        'X = "other"\n\n\ndef f():\n    return X\n',
    )
    codes = []
    for text in texts:
        (tmp_path / 'kernel.py').write_text(text)
        codes.append(code_of(tmp_path / 'kernel.py'))
    assert codes[0] == codes[1] != codes[2]
