# SPDX-License-Identifier: Apache-2.0
"""What TensorRT's ONNX parser takes, by version, and whether a graph keeps to it. This is a table
of facts; it needs onnx, not TensorRT.

The facts are from the documentation and sources of onnx-tensorrt for 10.1 (the parser changed
little up to 10.13), the release notes of 10.14, 10.15 and 11.0, and from trying TensorRT for RTX. A
rule stands here also where the parser accepts a graph and then computes something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
from onnx import TensorProto

from penguin_ros.export.tensorrt.graph import (
    DEQUANTIZE,
    INT4_DEQUANTIZE,
    TENSORRT_DOMAIN,
    Constants,
)

Version = tuple[int, int]

OPSETS: tuple[tuple[Version, int], ...] = (((10, 0), 20), ((10, 14), 24))
"""The newest opset that is documented from a version on. A newer one in a file is no error: its
operators may be old.
"""

BASE = (
    'Add',
    'Cast',
    'Concat',
    'Constant',
    'DequantizeLinear',
    'Div',
    'Erf',
    'Gather',
    'MatMul',
    'Mul',
    'Neg',
    'Pow',
    'ReduceMean',
    'ReduceSum',
    'Reshape',
    'Shape',
    'Sigmoid',
    'Slice',
    'Softmax',
    'Split',
    'Sqrt',
    'Sub',
    'Transpose',
    'TopK',
    'Unsqueeze',
    'Where',
)
SINCE: dict[str, Version] = {
    **dict.fromkeys(BASE, (10, 0)),
    'Attention': (10, 14),
    'RMSNormalization': (10, 15),
    'RotaryEmbedding': (10, 15),
    'TensorScatter': (10, 15),
}
"""The first version that takes an operator, for those that graphs here are made of."""

OWN = {INT4_DEQUANTIZE: DEQUANTIZE}
"""Operators of TensorRT's parser itself, and what they are without the rules for their inputs."""

NEWER_ATTRIBUTES = {'DequantizeLinear': {'block_size'}}
"""Attributes of opsets above the documented one that are understood all the same: the block follows
from the scale's shape.
"""

TYPES = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.BOOL,
}
MAX_TOP = 3840

Rule = Callable[[onnx.NodeProto, Constants], 'str | None']


def problems(model: onnx.ModelProto, version: Version, constants: Constants) -> list[str]:
    """Returns why TensorRT of `version` would refuse the graph or get it wrong; empty when it is
    fine.
    """
    found = list(_input_problems(model))
    opset = max(newest for since, newest in OPSETS if since <= version)
    declared = next(
        entry.version for entry in model.opset_import if entry.domain in ('', 'ai.onnx')
    )
    for node in model.graph.node:
        why = _operator_problem(node, version, min(opset, declared)) or (
            RULES[node.op_type](node, constants) if node.op_type in RULES else None
        )
        if why:
            found.append(f'{node.op_type} {node.name}: {why}')
    return found


def _input_problems(model: onnx.ModelProto) -> Iterator[str]:
    used = {name for node in model.graph.node for name in node.input}
    for value in model.graph.input:
        if value.name not in used:
            yield f'input {value.name}: nothing reads it'
        kind = value.type.tensor_type.elem_type
        if kind not in TYPES:
            yield f'input {value.name}: type {TensorProto.DataType.Name(kind)}'


def _operator_problem(node: onnx.NodeProto, version: Version, opset: int) -> str | None:
    kind = OWN.get(node.op_type, node.op_type) if node.domain == TENSORRT_DOMAIN else node.op_type
    since = SINCE.get(kind)
    if node.domain not in ('', 'ai.onnx', TENSORRT_DOMAIN) or since is None:
        return 'not an operator that TensorRT is known to take'
    if since > version:
        return f'needs TensorRT {since[0]}.{since[1]}'
    schema = onnx.defs.get_schema(kind, opset)
    own = {attribute.name for attribute in node.attribute if not attribute.name.startswith('TRT_')}
    unknown = own - set(schema.attributes) - NEWER_ATTRIBUTES.get(kind, set())
    if unknown:
        return f'{sorted(unknown)[0]} is newer than opset {opset}'
    return f'it has {len(node.input)} inputs' if len(node.input) > schema.max_input else None


def _dequantize(node: onnx.NodeProto, constants: Constants) -> str | None:
    values, scales = constants.tensor(node.input[0]), constants.tensor(node.input[1])
    zeros = constants.tensor(node.input[2]) if len(node.input) > 2 else None
    if values is None or scales is None:
        return 'values and scales must be constants'
    is_int4 = values.data_type == TensorProto.INT4
    is_own = node.op_type == INT4_DEQUANTIZE
    if is_own and (not is_int4 or zeros is not None):
        return 'this operator takes int4, without zero points'
    if is_int4 and not is_own and (zeros is None or zeros.data_type != TensorProto.INT4):
        return 'int4 needs zero points of int4'
    if is_int4 and values.dims[-1] % 2:
        return 'an odd last dimension of int4'
    if zeros is not None and (
        list(zeros.dims) != list(scales.dims) or constants.numbers(zeros).any()
    ):
        return 'zero points must be zero, as many as scales'
    if not (constants.numbers(scales) > 0).all():
        return 'a scale is not positive'
    return _blocks(values, scales, _attribute(node, 'axis', 1))


def _blocks(values: TensorProto, scales: TensorProto, axis: int) -> str | None:
    if len(scales.dims) == 1:
        return None if scales.dims[0] == values.dims[axis] else 'not one scale per output'
    if len(scales.dims) != len(values.dims):
        return 'the scale has another rank than the weight'
    ratios = [size / count for size, count in zip(values.dims, scales.dims, strict=True)]
    divides = all(ratio == int(ratio) for ratio in ratios)
    if not divides or sum(ratio == 1 for ratio in ratios) != len(ratios) - 1:
        return f'blocks must divide one dimension: {list(values.dims)} by {list(scales.dims)}'
    return None


def _attention(node: onnx.NodeProto, constants: Constants) -> str | None:
    if len([name for name in node.input if name]) > 4 or len(node.output) > 1:
        return 'past, present and lengths of its own are refused, or ignored without a message'
    if _attribute(node, 'is_causal', 0) or _attribute(node, 'softcap', 0):
        return 'causal masks differ between runtimes, soft caps are not there: give a mask'
    return None


def _scatter(node: onnx.NodeProto, constants: Constants) -> str | None:
    is_linear = constants.attribute(node, 'mode', 'linear') == 'linear'
    if not is_linear or _attribute(node, 'axis', -2) not in (2, -2):
        return 'only positions along axis 2, in order'
    if node.input[0] not in constants.inputs or node.output[0] not in constants.outputs:
        return 'the cache must be an input of the graph, and its update an output'
    is_fixed = constants.inputs[node.input[0]][2] >= 0
    return None if is_fixed else 'the length of the cache must be fixed'


def _slice(node: onnx.NodeProto, constants: Constants) -> str | None:
    if len(node.input) > 3 and constants.tensor(node.input[3]) is None:
        return 'axes must be constant'
    is_fine = all(constants.is_shape(name) for name in node.input[1:])
    return None if is_fine else 'its borders must come from shapes, not from data'


def _constant_input(index: int) -> Rule:
    def rule(node: onnx.NodeProto, constants: Constants) -> str | None:
        is_fine = len(node.input) <= index or constants.tensor(node.input[index]) is not None
        return None if is_fine else f'input {index} must be constant'

    return rule


def _shape_input(index: int) -> Rule:
    def rule(node: onnx.NodeProto, constants: Constants) -> str | None:
        is_fine = constants.is_shape(node.input[index])
        return None if is_fine else f'input {index} must come from shapes, not from data'

    return rule


def _top(node: onnx.NodeProto, constants: Constants) -> str | None:
    count = constants.tensor(node.input[1])
    is_small = count is not None and constants.numbers(count).max() < MAX_TOP
    if not is_small or not _attribute(node, 'sorted', 1):
        return f'k must be constant and below {MAX_TOP}, the result sorted'
    return None


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next(
        (int(entry.i or entry.f) for entry in node.attribute if entry.name == name), default
    )


RULES: dict[str, Rule] = {
    DEQUANTIZE: _dequantize,
    INT4_DEQUANTIZE: _dequantize,
    'Attention': _attention,
    'TensorScatter': _scatter,
    'Slice': _slice,
    'TopK': _top,
    'Unsqueeze': _constant_input(1),
    'ReduceMean': _constant_input(1),
    'ReduceSum': _constant_input(1),
    'Reshape': _shape_input(1),
    'Split': _shape_input(1),
}
