# SPDX-License-Identifier: Apache-2.0
"""Which matrices are stored, how blocks are chosen, and what is stored otherwise than asked, with
the reason.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.graph_runs import stack

from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.checkpoint.tensor_names import expected_shapes
from penguin_ros.errors import BuildRefused
from penguin_ros.export.precision import (
    BuildChoice,
    MatrixPlan,
    MatrixPlanner,
    plan_precision,
    stored_bytes,
)
from penguin_ros.testing.random_checkpoint import SHAPES


def plans(
    shape: CheckpointShape,
    backend: str = 'onnxruntime',
    precision: str = 'int4',
    parts: int = 2,
    **choice: Any,
) -> dict[str, MatrixPlan]:
    planner = MatrixPlanner(
        shape, plan_precision(BuildChoice(backend, precision, **choice)), backend
    )
    return {plan.name: plan for plan in planner.encoder() + planner.decoder(parts)}


def shape(**changes: Any) -> CheckpointShape:
    return dataclasses.replace(SHAPES['tiny'], **changes)


@pytest.mark.parametrize('name', SHAPES)
def test_every_matrix_of_the_checkpoint_is_stored_once(name: str) -> None:
    planned, sizes = plans(SHAPES[name]), expected_shapes(SHAPES[name])
    matrices = {tensor for tensor, size in sizes.items() if len(size) == 2} - {
        'llm.embed_tokens.weight'
    }
    stored: dict[str, int] = dict.fromkeys(matrices, 0)
    for plan in planned.values():
        assert {sizes[source][1] for source in plan.sources} == {plan.inputs}
        if len(plan.sources) > 1:
            assert sum(sizes[source][0] for source in plan.sources) == plan.outputs
        for source in plan.sources:
            stored[source] += sizes[source][0] if len(plan.sources) > 1 else plan.outputs
    assert stored == {tensor: sizes[tensor][0] for tensor in matrices}


@pytest.mark.parametrize('name', ['2b', '8b'])
@pytest.mark.parametrize('backend', ['onnxruntime', 'tensorrt'])
def test_the_published_sizes_are_int4_in_blocks_of_128_without_exception(
    name: str, backend: str
) -> None:
    planned = plans(SHAPES[name], backend)
    assert {
        (plan.kind, plan.block_size)
        for key, plan in planned.items()
        if key.startswith('llm.layers.')
    } == {('int4', 128)}
    assert not [plan for plan in planned.values() if plan.why]
    head = 'int8' if backend == 'onnxruntime' else 'int4'
    assert {(plan.kind, plan.block_size) for key, plan in planned.items() if 'lm_head' in key} == {
        (head, 128)
    }


def test_a_smaller_block_is_taken_where_128_does_not_divide() -> None:
    planned = plans(shape(llm=stack(4, 2, 16, hidden=192, ffn=160)))
    assert {
        name: planned[f'llm.layers.0.{name}'].block_size
        for name in ('self_attn.qkv', 'self_attn.o_proj', 'mlp.down_proj')
    } == {'self_attn.qkv': 64, 'self_attn.o_proj': 64, 'mlp.down_proj': 32}


def test_where_no_block_divides_int8_is_taken_and_the_reason_kept() -> None:
    planned = plans(shape(llm=stack(4, 2, 16, hidden=64, ffn=72)))
    down = planned['llm.layers.1.mlp.down_proj']
    assert (down.kind, down.block_size) == ('int8', 0) and '72 inputs' in down.why
    assert planned['llm.layers.1.mlp.gate_up'].kind == 'int4'


def test_an_odd_number_of_outputs_cannot_be_pairs() -> None:
    planned = plans(shape(llm=stack(4, 2, 16, hidden=64, ffn=97)))
    gate = planned['llm.layers.0.mlp.gate_up']
    assert gate.kind == 'int8' and 'odd' in gate.why


def test_patch_embedding_has_one_scale_per_output() -> None:
    """588 inputs have no block that a runtime has a kernel for."""
    patches = plans(SHAPES['2b'])['encoder.patch_embedding']
    assert (patches.kind, patches.block_size, patches.blocks) == ('int8', 0, 1)


@pytest.mark.parametrize('parts', [1, 2, 4, 5])
@pytest.mark.parametrize('rows', [640, 641])
def test_the_parts_of_the_head_follow_one_another(parts: int, rows: int) -> None:
    head = [
        plan
        for name, plan in plans(shape(vocabulary_size=rows), parts=parts).items()
        if 'lm_head' in name
    ]
    assert len(head) == parts
    assert [plan.first for plan in head[1:]] == [plan.first + plan.outputs for plan in head[:-1]]
    assert (head[0].first, head[-1].first + head[-1].outputs) == (0, rows)


@pytest.mark.parametrize('parts', [1, 2, 4])
@pytest.mark.parametrize('rows', [640, 641, 700, 151675])
def test_parts_of_the_head_for_tensorrt_have_multiples_of_128_outputs(
    parts: int, rows: int
) -> None:
    head = [
        plan
        for name, plan in plans(shape(vocabulary_size=rows), 'tensorrt', parts=parts).items()
        if 'lm_head' in name
    ]
    assert len(head) == parts and all(plan.outputs % 128 == 0 < plan.outputs for plan in head)
    assert [plan.first for plan in head[1:]] == [plan.first + plan.outputs for plan in head[:-1]]
    assert head[-1].first + head[-1].outputs - head[-1].padding == rows
    assert [plan.padding for plan in head[:-1]] == [0] * (parts - 1) and head[-1].padding < 128
    assert {plan.kind for plan in head} == {'int4'}


def test_a_head_for_tensorrt_has_no_more_parts_than_128_outputs_fill() -> None:
    planned = plans(shape(vocabulary_size=641), 'tensorrt', parts=9)
    assert sum('lm_head' in name for name in planned) == 6


def test_what_cannot_be_int4_for_tensorrt_is_stored_as_it_is_computed() -> None:
    """And not as int8, which it may unpack for every token."""
    planned = plans(shape(llm=stack(4, 2, 16, hidden=64, ffn=72)), 'tensorrt')
    down = planned['llm.layers.1.mlp.down_proj']
    assert (down.kind, down.block_size) == ('float16', 0) and '72 inputs' in down.why


def test_bytes_of_int4_are_half_a_byte_and_a_scale_per_block() -> None:
    plan = MatrixPlan('x', ('x',), 256, 10, 'int4', 128)
    assert stored_bytes(plan, 'float16') == 256 * 10 // 2 + 2 * 10 * 2
    assert stored_bytes(MatrixPlan('x', ('x',), 3, 5, 'float32'), 'float32') == 60


def test_a_larger_block_is_taken_where_it_divides_and_is_asked_for() -> None:
    planned = plans(SHAPES['2b'], block_size=256)
    sizes = {(key.partition('.')[0], plan.kind, plan.block_size) for key, plan in planned.items()}
    assert {('llm', 'int4', 256), ('llm', 'int8', 256), ('encoder', 'int8', 256)} <= sizes
    assert planned['encoder.patch_embedding'].block_size == 0  # 588 inputs


def test_a_block_size_that_is_not_known_is_refused() -> None:
    with pytest.raises(BuildRefused, match='48'):
        plan_precision(BuildChoice(precision='int4', block_size=48))
