# SPDX-License-Identifier: Apache-2.0
"""What a compiled kernel is like, told without a GPU."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from support.kernel_runs import needs_triton

from penguin_ros.checkpoint.published_shapes import PUBLISHED
from penguin_ros.export.cuda.kernel_files import kernels_of
from penguin_ros.kernels.ahead import compile_ahead
from penguin_ros.kernels.disassembly import code_report, faults, instructions_a_weight
from penguin_ros.kernels.network import Formats, network_of
from penguin_ros.kernels.table import Compiled, Kernel
from penguin_ros.testing.random_checkpoint import SHAPES

pytestmark = needs_triton

NANO = 5.1
"""Instructions for each int4 weight for which an Orin Nano has time at its highest mode, 102 GB/s:
8 multiprocessors x 128 lanes x 1.02 GHz over 204 G weights a second.
"""


@cache
def kernels(name: str = '2b', llm: int = 4) -> dict[str, Kernel]:
    made = kernels_of(network_of(PUBLISHED[name], Formats(llm=llm, head=llm)))
    return {kernel.name: kernel for kernel in made}


@cache
def compiled(name: str, target: int) -> Compiled:
    (made,) = compile_ahead([kernels()[name]], target)
    return made


@pytest.mark.slow
def test_the_largest_product_of_a_step_is_sound_for_orin_and_has_time() -> None:
    made = compiled('one.gated', 87)
    code = code_report(made)
    assert faults(made, code) == []
    assert 1 < instructions_a_weight(made.kernel, code) < NANO


@pytest.mark.slow
def test_faults_are_seen() -> None:
    made = compiled('one.gated', 87)
    code = code_report(made)
    for change, words in (
        ({'spilled_bytes': 8}, 'spills 8 bytes'),
        ({'shared_bytes': 200_000}, 'shared memory'),
        ({'registers': 256}, '256 registers'),
        ({'ptx_version': 90}, 'version'),
        ({'target': 90}, 'not for the target'),
    ):
        assert [words in fault for fault in faults(replace(made, **change), code)] == [True]
    flushed = made.ptx.replace('fma.rn.f32', 'fma.rn.ftz.f32')
    assert 'subnormal' in faults(replace(made, ptx=flushed), code)[0]
    assert 'no load of 16 bytes' in faults(made, replace(code, wide_loads=0))[0]


@pytest.mark.slow
@pytest.mark.parametrize('name', ('2b', '8b'))
@pytest.mark.parametrize('target', (80, 87, 90, 110, 120))
def test_every_kernel_is_sound_for_every_target(name: str, target: int) -> None:
    made = compile_ahead(list(kernels(name).values()), target)
    assert [fault for each in made for fault in faults(each, code_report(each))] == []


@pytest.mark.slow
@pytest.mark.parametrize('llm', (8, 16))
def test_kernels_for_other_weights_are_sound_for_orin(llm: int) -> None:
    made = compile_ahead(list(kernels('2b', llm).values()), 87)
    assert [fault for each in made for fault in faults(each, code_report(each))] == []


@pytest.mark.slow
@pytest.mark.parametrize('name', ('2b', '8b'))
@pytest.mark.parametrize(('compute', 'target'), (('fp16', 87), ('fp16', 110), ('bf16', 120)))
def test_kernels_for_keys_and_values_in_int8_are_sound(
    name: str, compute: str, target: int
) -> None:
    every = kernels_of(network_of(PUBLISHED[name], Formats(compute, cache='i8')))
    chosen = [each for each in every if 'attend' in each.name or 'turn' in each.name]
    made = compile_ahead(chosen, target)
    assert [fault for each in made for fault in faults(each, code_report(each))] == []


@pytest.mark.slow
def test_numbers_of_float32_are_multiplied_whole_and_not_on_tensor_cores() -> None:
    llm = replace(SHAPES['tiny'].llm, head_dim=16)
    shape = replace(SHAPES['tiny'], llm=llm)
    every = kernels_of(network_of(shape, Formats('fp32', 16, 16, 16, 'fp32')))
    chosen = [one for one in every if one.name in ('few.qkv', 'many.attend', 'one.attend')]
    for made in compile_ahead(chosen, 90):
        code = code_report(made)
        assert 'tf32' not in made.ptx and not code.matrix and faults(made, code) == []


@pytest.mark.slow
def test_products_of_a_step_leave_a_nano_time() -> None:
    for name in ('one.qkv', 'one.output', 'one.gated', 'one.down'):
        made = compiled(name, 87)
        assert instructions_a_weight(made.kernel, code_report(made)) < NANO, name


@pytest.mark.slow
def test_products_of_several_rows_are_on_tensor_cores() -> None:
    for name in ('few.qkv', 'many.gated', 'many.attend', 'encoder.attend', 'one.attend'):
        assert code_report(compiled(name, 87)).matrix, name
