# SPDX-License-Identifier: Apache-2.0
"""Which formats go together, and what a refusal says."""

from __future__ import annotations

import pytest

from penguin_ros.errors import BuildRefused
from penguin_ros.export.precision import BuildChoice, PrecisionPlan, doubts, plan_precision


@pytest.mark.parametrize(
    'choice, plan',
    [
        (BuildChoice(), PrecisionPlan('float32', 'float32', 'float32', 'float32', 'float32')),
        (
            BuildChoice(precision='int4'),
            PrecisionPlan('float32', 'int4', 'int8', 'int8', 'float32'),
        ),
        (
            BuildChoice(precision='int4', head='int4', vision='float32'),
            PrecisionPlan('float32', 'int4', 'int4', 'float32', 'float32'),
        ),
        (
            BuildChoice('tensorrt', 'int4'),
            PrecisionPlan('float16', 'int4', 'int4', 'float16', 'float16'),
        ),
        (
            BuildChoice('tensorrt', 'int4', head='float16'),
            PrecisionPlan('float16', 'int4', 'float16', 'float16', 'float16'),
        ),
        (
            BuildChoice('tensorrt', 'int8', vision='int8'),
            PrecisionPlan('float16', 'int8', 'int8', 'int8', 'float16'),
        ),
        (
            BuildChoice('tensorrt', 'int4', compute='bfloat16'),
            PrecisionPlan('bfloat16', 'int4', 'int4', 'bfloat16', 'bfloat16'),
        ),
        (
            BuildChoice('tensorrt', 'bfloat16'),
            PrecisionPlan('bfloat16', 'bfloat16', 'bfloat16', 'bfloat16', 'bfloat16'),
        ),
        (
            BuildChoice('onnxruntime', 'bfloat16', 'cuda'),
            PrecisionPlan('bfloat16', 'bfloat16', 'bfloat16', 'bfloat16', 'bfloat16'),
        ),
        (
            BuildChoice(precision='w8a8'),
            PrecisionPlan('float32', 'w8a8', 'int8', 'w8a8', 'float32'),
        ),
        (
            BuildChoice(precision='int4', vision='w8a8'),
            PrecisionPlan('float32', 'int4', 'int8', 'w8a8', 'float32'),
        ),
        (
            BuildChoice('onnxruntime', 'int8', 'cuda'),
            PrecisionPlan('float16', 'int8', 'int8', 'float16', 'float16'),
        ),
    ],
)
def test_each_part_gets_its_format(choice: BuildChoice, plan: PrecisionPlan) -> None:
    assert plan_precision(choice) == plan


@pytest.mark.parametrize(
    'choice',
    [
        BuildChoice(precision='bfloat16'),
        BuildChoice(precision='int4', vision='bfloat16'),
        BuildChoice(precision='int4', compute='bfloat16'),
    ],
)
def test_bfloat16_is_refused_for_the_cpu_with_the_reason(choice: BuildChoice) -> None:
    with pytest.raises(BuildRefused, match='no bfloat16 MatMul') as refused:
        plan_precision(choice)
    assert '--precision float32, int8 or int4' in refused.value.fix


@pytest.mark.parametrize(
    'choice',
    [
        BuildChoice('tensorrt', 'w8a8'),
        BuildChoice('tensorrt', 'int4', vision='w8a8'),
        BuildChoice('onnxruntime', 'w8a8', 'cuda'),
        BuildChoice(precision='w8a8', compute='float16'),
    ],
)
def test_products_of_integers_are_for_the_cpu(choice: BuildChoice) -> None:
    with pytest.raises(BuildRefused, match='w8a8 runs on the CPU'):
        plan_precision(choice)


@pytest.mark.parametrize(
    'choice, what',
    [
        (BuildChoice('openvino'), 'backend'),
        (BuildChoice(precision='fp8'), 'precision'),
        (BuildChoice(precision=''), 'precision'),
        (BuildChoice(device='npu'), 'device'),
        (BuildChoice(head='w8a8'), 'head'),
        (BuildChoice(vision='int4'), 'encoder'),
        (BuildChoice(precision='int4', compute='int8'), 'activations'),
        (BuildChoice(precision='float16', compute='float32'), 'LLM'),
        (BuildChoice(precision='int4', head='float16'), 'head'),
    ],
)
def test_what_does_not_go_together_is_named(choice: BuildChoice, what: str) -> None:
    with pytest.raises(BuildRefused, match=what):
        plan_precision(choice)


@pytest.mark.parametrize(
    'choice, parts',
    [
        (BuildChoice('tensorrt', 'int4'), []),
        (BuildChoice('tensorrt', 'float16'), []),
        (BuildChoice('tensorrt', 'int4', head='int8'), ['the head']),
        (BuildChoice('tensorrt', 'int4', vision='int8'), ['the encoder']),
        (BuildChoice('tensorrt', 'int8'), ['linears', 'the head']),
        (BuildChoice('onnxruntime', 'int8'), []),
        (BuildChoice('onnxruntime', 'int8', 'cuda'), []),
    ],
)
def test_int8_weights_for_tensorrt_are_doubted_with_the_reason_and_the_way_out(
    choice: BuildChoice, parts: list[str]
) -> None:
    found = doubts(plan_precision(choice), choice.backend)
    assert [text.partition(' in int8: ')[0] for text in found] == parts
    assert all('anew for every token' in text and 'Take --' in text for text in found)


@pytest.mark.parametrize('size', [32, 64, 256])
def test_other_blocks_than_128_are_refused_for_tensorrt(size: int) -> None:
    with pytest.raises(BuildRefused, match=f'blocks of {size} are not for TensorRT.*128'):
        plan_precision(BuildChoice('tensorrt', 'int4', block_size=size))
    assert plan_precision(BuildChoice('onnxruntime', 'int4', block_size=size)).block_size == size
