# SPDX-License-Identifier: Apache-2.0
"""What of a graph is known before it runs: constants, and numbers that follow from shapes. Knows ONNX, reads weight files."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

SHAPE_ARITHMETIC = {'Add', 'Cast', 'Concat', 'Div', 'Gather', 'Mul', 'Reshape', 'Slice', 'Sub', 'Unsqueeze'}


class Constants:
    """Of the graph of `model`, whose weight files lie in `folder`."""

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self._folder = folder
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self.inputs = {value.name: [size.dim_value if size.HasField('dim_value') else -1
                                    for size in value.type.tensor_type.shape.dim] for value in model.graph.input}
        self.outputs = {value.name for value in model.graph.output}

    def tensor(self, name: str) -> TensorProto | None:
        """The constant of this name; None when it is computed."""
        return self._tensors.get(name)

    def numbers(self, tensor: TensorProto) -> NDArray[Any]:
        """The values of a constant, read from its file where it lies in one."""
        copy = TensorProto()
        copy.CopyFrom(tensor)
        if tensor.external_data:
            load_external_data_for_tensor(copy, str(self._folder))
        return np.asarray(numpy_helper.to_array(copy)).astype(np.float32)

    def is_shape(self, name: str) -> bool:
        """Whether a value is constant or follows from the shapes of tensors alone."""
        if not name or name in self._tensors:
            return True
        maker = self._makers.get(name)
        if maker is None:
            return False
        return maker.op_type == 'Shape' or (maker.op_type in SHAPE_ARITHMETIC and all(map(self.is_shape, maker.input)))

    def attribute(self, node: onnx.NodeProto, name: str, default: str) -> str:
        """A text."""
        return next((entry.s.decode() for entry in node.attribute if entry.name == name), default)
