# SPDX-License-Identifier: Apache-2.0
"""bfloat16 on a machine whose ONNX Runtime does not compute in it: graphs in float32 in its place,
whose results are rounded to bfloat16 where they leave an engine.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.checkpoint.tensors import widened


def compute_in_float32(model: onnx.ModelProto) -> None:
    """Makes every bfloat16 of a graph float32."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            tensor.raw_data = wide(np.frombuffer(tensor.raw_data, np.uint16)).tobytes()
            tensor.data_type = TensorProto.FLOAT
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.BFLOAT16:
            kind.elem_type = TensorProto.FLOAT
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT


def wide(bits: np.ndarray) -> np.ndarray:
    """Returns bfloat16, given as its bits, as float32."""
    return widened('BF16', bits)


def narrow(values: np.ndarray) -> np.ndarray:
    """Returns float32 rounded to bfloat16, as its bits."""
    return narrowed('BF16', values)[1]
