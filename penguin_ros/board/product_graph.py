# SPDX-License-Identifier: Apache-2.0
"""Graphs of one product with random weights, in each number format that a bundle may store, and
what they must give.

Importing this file needs onnx.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from penguin_ros.board.micro_engine import MicroGraph
from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.export.graph import ELEMENT_TYPES, SAFETENSORS, Graph
from penguin_ros.export.quantisation import packed
from penguin_ros.export.weight_file import StoredTensor, WeightFile

BLOCK = 128
FILE = 'micro.onnx'
SPREAD = 0.02


@dataclass(frozen=True)
class WeightForm:
    """One way to store a matrix: `kind` of its values; `compute` of activations; `scales` is the
    format of scales, '' for floats; with `has_zeros`, zero points lie beside them.
    """

    name: str
    kind: str
    compute: str = 'float16'
    scales: str = ''
    has_zeros: bool = False


FORMS = (
    WeightForm('float16', 'float16'),
    WeightForm('bfloat16', 'bfloat16', 'bfloat16'),
    WeightForm('int4', 'int4', scales='float16', has_zeros=True),
    WeightForm('int4 without zero points', 'int4', scales='float16'),
    WeightForm('int4 float32 scales', 'int4', scales='float32', has_zeros=True),
    WeightForm('int4 float32 scales without zero points', 'int4', scales='float32'),
    WeightForm('int8', 'int8', scales='float16'),
)
"""The one called as a precision is what bundles store."""


@dataclass(frozen=True, eq=False)
class Product:
    """A graph, and what it must give in float32, (rows, outputs)."""

    graph: MicroGraph
    expected: NDArray[np.float32]


def product(folder: Path, form: WeightForm, size: tuple[int, int], rows: int) -> Product:
    """Writes a product of `rows` with a matrix (inputs, outputs) to a folder."""
    random = np.random.default_rng(0)
    graph = Graph('product', 21, form.compute)
    graph.input('x', form.compute, (1, rows, size[0]))
    (folder / f'{FILE}.data').unlink(missing_ok=True)
    with WeightFile(folder / f'{FILE}.data') as file:
        weights, values = _weights(graph, file, form, size, random)
    graph.output('y', graph.op('MatMul', 'x', weights), form.compute, (1, rows, size[1]))
    x = narrowed(SAFETENSORS[form.compute], random.standard_normal((rows, size[0]), np.float32))
    (folder / FILE).write_bytes(b'')  # the parser looks for weights beside it
    micro = MicroGraph(graph.model(), folder / FILE, {}, {'x': x[1][None]}, {})
    return Product(micro, widened(*x) @ values)


def _weights(
    graph: Graph,
    file: WeightFile,
    form: WeightForm,
    size: tuple[int, int],
    random: np.random.Generator,
) -> tuple[str, NDArray[np.float32]]:
    """Returns the name of the matrix in the graph, and its values."""
    if not form.scales:
        kind = SAFETENSORS[form.kind]
        stored = narrowed(kind, random.standard_normal(size, np.float32) * np.float32(SPREAD))[1]
        return graph.weight(file.add('w', form.kind, stored)), widened(kind, stored)
    blocks = size[0] // BLOCK if form.kind == 'int4' else 1
    limit = 7 if form.kind == 'int4' else 127
    integers = random.integers(-limit, limit + 1, size, np.int8)
    spread = np.full((blocks, size[1]), SPREAD / limit * 2, np.float32)
    scales = narrowed(SAFETENSORS[form.scales], spread)[1]
    wide = widened(SAFETENSORS[form.scales], scales)
    values = integers * np.repeat(wide, size[0] // blocks, axis=0)
    name = _dequantised(graph, form, _stored(file, form, integers), file, scales)
    return name, values.astype(np.float32)


def _stored(file: WeightFile, form: WeightForm, integers: NDArray[np.int8]) -> StoredTensor:
    stored, place = file.place('w', form.kind, integers.shape)
    place[...] = packed(np.ascontiguousarray(integers.T)) if form.kind == 'int4' else integers
    return stored


def _dequantised(
    graph: Graph, form: WeightForm, stored: StoredTensor, file: WeightFile, scales: NDArray[Any]
) -> str:
    is_blocked = form.kind == 'int4'
    scales = scales if is_blocked else scales[0]
    inputs = [graph.weight(stored), graph.weight(file.add('w.scales', form.scales, scales))]
    if form.has_zeros:
        inputs.append(graph.weight(file.zeros('w.zeros', form.kind, scales.shape)))
    name = (
        graph.op('DequantizeLinear', *inputs, axis=0, block_size=BLOCK)
        if is_blocked
        else graph.op('DequantizeLinear', *inputs, axis=1)
    )
    if form.scales == form.compute:
        return name
    return graph.op('Cast', name, to=ELEMENT_TYPES[form.compute])


def top_token(folder: Path, vocabulary: int) -> MicroGraph:
    """Returns the graph that chooses the most probable of `vocabulary` tokens, as engines of the
    LLM end.
    """
    x = helper.make_tensor_value_info('logits', TensorProto.FLOAT, [1, 1, vocabulary])
    outputs = [
        helper.make_tensor_value_info(name, kind, [1, 1, 1])
        for name, kind in (
            ('best_logit', TensorProto.FLOAT),
            ('best_token', TensorProto.INT64),
            ('logit_sum', TensorProto.FLOAT),
        )
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (('count', 1), ('axis', -1))
    ]
    nodes = [
        helper.make_node('TopK', ['logits', 'count'], ['best_logit', 'best_token'], axis=-1),
        helper.make_node('ReduceSum', ['logits', 'axis'], ['logit_sum'], keepdims=1),
    ]
    made = helper.make_graph(nodes, 'top_token', [x], outputs, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
    logits = np.random.default_rng(0).standard_normal((1, 1, vocabulary), np.float32)
    return MicroGraph(model, folder / FILE, {}, {'logits': logits}, {})
