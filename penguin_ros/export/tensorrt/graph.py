# SPDX-License-Identifier: Apache-2.0
"""The copy of a graph that TensorRT's parser is given, in memory, with the weights left in their
files; and what of a graph is known before it runs: constants, and numbers that follow from shapes.

What only TensorRT understands, or only its runtime wants, is added here and never written to the
bundle.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from penguin_ros.export.graph import ELEMENT_TYPES

SHAPE_ARITHMETIC = {
    'Add',
    'Cast',
    'Concat',
    'Div',
    'Gather',
    'Mul',
    'Reshape',
    'Slice',
    'Sub',
    'Unsqueeze',
}


class Constants:
    """The constants of the graph of `model`, whose weight files lie in `folder`."""

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self._folder = folder
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self.inputs = {
            value.name: [
                size.dim_value if size.HasField('dim_value') else -1
                for size in value.type.tensor_type.shape.dim
            ]
            for value in model.graph.input
        }
        self.outputs = {value.name for value in model.graph.output}

    def tensor(self, name: str) -> TensorProto | None:
        """Returns the constant of this name; None when it is computed."""
        return self._tensors.get(name)

    def numbers(self, tensor: TensorProto) -> NDArray[Any]:
        """Returns the values of a constant, read from its file where it lies in one."""
        copy = TensorProto()
        copy.CopyFrom(tensor)
        if tensor.external_data:
            load_external_data_for_tensor(copy, str(self._folder))
        return np.asarray(numpy_helper.to_array(copy)).astype(np.float32)

    def is_shape(self, name: str) -> bool:
        """Returns whether a value is constant or follows from the shapes of tensors alone."""
        if not name or name in self._tensors:
            return True
        maker = self._makers.get(name)
        if maker is None:
            return False
        return maker.op_type == 'Shape' or (
            maker.op_type in SHAPE_ARITHMETIC and all(map(self.is_shape, maker.input))
        )

    def attribute(self, node: onnx.NodeProto, name: str, default: str) -> str:
        """Returns a text attribute of a node."""
        return next((entry.s.decode() for entry in node.attribute if entry.name == name), default)


ATTENTION = 'Attention'
DEQUANTIZE = 'DequantizeLinear'
INT4_DEQUANTIZE, TENSORRT_DOMAIN = 'TRT_INT4DequantizeLinear', 'trt'
MERGE_WEIGHTS = 'merge_weights'
DECOMPOSABLE = 'TRT_decomposable'
FEATURES, LOGITS = 'image_embeds', 'logits'


def tensorrt_copy(
    path: Path, is_decomposable: bool, feature_format: str = '', has_zero_points: bool = True
) -> onnx.ModelProto:
    """Reads the graph at `path`. With `is_decomposable`, attention may be taken apart where there
    is no kernel for it. Without `has_zero_points`, int4 weights stand before TensorRT's own
    operator for them, which takes none.

    `feature_format` is the format in which an encoder gives its features out, so that the decoder
    can take them as they are.
    """
    model = onnx.load_model(path, load_external_data=False)
    if is_decomposable:
        for node in model.graph.node:
            if node.op_type == ATTENTION:
                node.attribute.append(helper.make_attribute(DECOMPOSABLE, 1))
    if not has_zero_points:
        _leave_out_zero_points(model)
    if any(value.name == LOGITS for value in model.graph.output):
        _choose_greedy(model)
    if any(value.name == MERGE_WEIGHTS for value in model.graph.input):
        _merge_by_sums(model)
    if feature_format:
        _cast_features(model, ELEMENT_TYPES[feature_format])
    return model


def _leave_out_zero_points(model: onnx.ModelProto) -> None:
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        is_int4 = kinds.get(node.input[0] if node.input else '') == TensorProto.INT4
        if node.op_type == DEQUANTIZE and is_int4:
            node.op_type, node.domain = INT4_DEQUANTIZE, TENSORRT_DOMAIN
            del node.input[2:]
    model.opset_import.append(helper.make_opsetid(TENSORRT_DOMAIN, 1))
    used = {name for node in model.graph.node for name in node.input}
    left = [tensor for tensor in model.graph.initializer if tensor.name in used]
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in left]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)


def _choose_greedy(model: onnx.ModelProto) -> None:
    """Adds the most probable token, its logit, and the sum of all logits, which is finite only when
    all of them are.
    """
    model.graph.initializer.append(helper.make_tensor('best_count', TensorProto.INT64, [1], [1]))
    model.graph.initializer.append(helper.make_tensor('best_axis', TensorProto.INT64, [1], [-1]))
    inputs, outputs = [LOGITS, 'best_count'], ['best_logit', 'best_token']
    best = helper.make_node('TopK', inputs, outputs, name='best', axis=-1, largest=1, sorted=1)
    inputs, outputs = [LOGITS, 'best_axis'], ['logit_sum']
    total = helper.make_node('ReduceSum', inputs, outputs, name='logit_sum', keepdims=1)
    model.graph.node.extend((best, total))
    for name, kind in (
        ('best_token', TensorProto.INT64),
        ('best_logit', TensorProto.FLOAT),
        ('logit_sum', TensorProto.FLOAT),
    ):
        model.graph.output.append(helper.make_tensor_value_info(name, kind, [1, 'wanted', 1]))


def _merge_by_sums(model: onnx.ModelProto) -> None:
    """Makes the weighted mean of each merge block of patches a sum of products instead of a float32
    product of matrices, for which TensorRT for RTX has no kernel on Turing.
    """
    nodes = list(model.graph.node)
    row = next(
        node.output[0]
        for node in nodes
        if node.op_type == 'Unsqueeze' and node.input[0] == MERGE_WEIGHTS
    )
    place = next(index for index, node in enumerate(nodes) if row in node.input)
    blocks, merged = nodes[place].input[1], nodes[place].output[0]
    names = ('merge_column_axis', 'merge_sum_axis')
    for name, axis in zip(names, (1, -2), strict=True):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [axis]))
    column, shares = 'merge_column', 'merge_shares'
    nodes[place : place + 1] = [
        helper.make_node('Unsqueeze', [MERGE_WEIGHTS, names[0]], [column], name=column),
        helper.make_node('Mul', [blocks, column], [shares], name=shares),
        helper.make_node('ReduceSum', [shares, names[1]], [merged], name='merge_sum', keepdims=1),
    ]
    del model.graph.node[:]
    model.graph.node.extend(node for node in nodes if row not in node.output)


def weight_bytes(model: onnx.ModelProto) -> int:
    """Returns the bytes of all weights as they lie in the graph's files; what lies in one place
    counts once.
    """
    places: dict[tuple[str, str], int] = {}
    for tensor in model.graph.initializer:
        external = {entry.key: entry.value for entry in tensor.external_data}
        if external:
            places[external['location'], external['offset']] = int(external['length'])
        else:
            places['', tensor.name] = len(tensor.raw_data)
    return sum(places.values())


def largest_matrix(model: onnx.ModelProto) -> int:
    """Returns how many numbers the largest weight has."""
    return max((math.prod(tensor.dims) for tensor in model.graph.initializer), default=1)


def _cast_features(model: onnx.ModelProto, kind: int) -> None:
    output = next(value for value in model.graph.output if value.name == FEATURES)
    if output.type.tensor_type.elem_type == kind:
        return
    source = f'{FEATURES}_computed'
    for node in model.graph.node:
        node.output[:] = [source if name == FEATURES else name for name in node.output]
        node.input[:] = [source if name == FEATURES else name for name in node.input]
    model.graph.node.append(
        helper.make_node('Cast', [source], [FEATURES], name=f'{FEATURES}_cast', to=kind)
    )
    output.type.tensor_type.elem_type = TensorProto.DataType.ValueType(kind)
