# SPDX-License-Identifier: Apache-2.0
"""How long a fake engine takes, by its bytes, and what it says of its layers.

Every weight is read once in each run. Weights of formats that the GPU is told to unpack are then
written as float16, read again, and lie in the engine as that too.
"""

from __future__ import annotations

import math
from typing import Any

import onnx

FLOAT16_BYTES = 2
FORMATS = {'INT8': 'int8', 'INT4': 'int4', 'FLOAT16': 'float16', 'FLOAT': 'float32'}
KERNELS = {'Attention': '_gemm_mha_v2', 'MatMul': 'gemm'}
NODE_BYTES = 64
"""Bytes that each operator counts beside its weights, so that a graph of fewer is faster."""


def run_bytes(model: onnx.ModelProto, unpacked: tuple[str, ...]) -> int:
    """Returns the bytes that one run moves."""
    weights = sum(_stored_bytes(tensor) for tensor in model.graph.initializer)
    return weights + NODE_BYTES * len(model.graph.node) + 2 * unpacked_bytes(model, unpacked)


def unpacked_bytes(model: onnx.ModelProto, unpacked: tuple[str, ...]) -> int:
    """Returns the bytes of the weights that are unpacked, as float16."""
    return sum(FLOAT16_BYTES * math.prod(tensor.dims) for tensor in _unpacked(model, unpacked))


def layers_of(model_bytes: bytes, unpacked: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the layers in the form of TensorRT's JSON."""
    model = onnx.load_model_from_string(model_bytes)
    layers: list[dict[str, Any]] = [
        {'Name': node.name, 'LayerType': node.op_type, 'TacticName': KERNELS[node.op_type]}
        for node in model.graph.node
        if node.op_type in KERNELS
    ]
    for tensor in _unpacked(model, unpacked):
        output = {'Dimensions': list(tensor.dims), 'Format/Datatype': 'Row major linear FP16'}
        layers.append({'Name': f'{tensor.name} unpacked', 'Outputs': [output]})
    return layers


def _unpacked(model: onnx.ModelProto, unpacked: tuple[str, ...]) -> list[onnx.TensorProto]:
    values = {node.input[0] for node in model.graph.node if node.op_type == 'DequantizeLinear'}
    return [
        tensor
        for tensor in model.graph.initializer
        if tensor.name in values
        and FORMATS.get(onnx.TensorProto.DataType.Name(tensor.data_type)) in unpacked
    ]


def _stored_bytes(tensor: onnx.TensorProto) -> int:
    return len(tensor.raw_data) or sum(
        int(entry.value) for entry in tensor.external_data if entry.key == 'length'
    )
