# SPDX-License-Identifier: Apache-2.0
"""Puts an ONNX graph together node by node; weights stay in files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from penguin_ros.backends.base.manifest import TensorSpec
from penguin_ros.checkpoint.safetensors_file import narrowed
from penguin_ros.export.weight_file import StoredTensor

ELEMENT_TYPES = {
    'float32': TensorProto.FLOAT,
    'float16': TensorProto.FLOAT16,
    'bfloat16': TensorProto.BFLOAT16,
    'int8': TensorProto.INT8,
    'int4': TensorProto.INT4,
    'uint8': TensorProto.UINT8,
    'int64': TensorProto.INT64,
    'bool': TensorProto.BOOL,
}
SAFETENSORS = {'float32': 'F32', 'float16': 'F16', 'bfloat16': 'BF16'}
IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}
"""The oldest format version that may carry an opset, for the sake of older readers."""

PRODUCER = 'penguin_ros'
RESIDUAL, GATED = 'residual', 'gated'
"""What float16 may not hold: the numbers that are added up from layer to layer, and the gated
product inside each.
"""


class Graph:
    """A graph under construction; `compute` is the number format of activations."""

    def __init__(self, name: str, opset: int, compute: str) -> None:
        self.name = name
        self.opset = opset
        self.compute = compute
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        self.files: set[str] = set()
        self.quantised = 0
        self._watched: dict[str, list[str]] = {RESIDUAL: [], GATED: []}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._renamed: dict[str, str] = {}
        self._scopes: list[str] = []
        self._count = 0

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Makes the names of what is added inside begin with `name`."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declares an input; a dimension is a size or a name."""
        self.inputs.append(TensorSpec(name, dtype, tuple(shape)))
        return name

    def output(self, name: str, value: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declares `value`, the result of a node, as an output called `name`, without a copy."""
        self.outputs.append(TensorSpec(name, dtype, tuple(shape)))
        self._renamed[value] = name

    def watched(self, kind: str, value: str) -> str:
        """Notes a value, RESIDUAL or GATED, for `show_maxima`, and returns it."""
        self._watched[kind].append(value)
        return value

    def show_maxima(self) -> None:
        """Adds an output max_KIND (values,) for each kind of value that was noted: the largest
        magnitudes, in order.
        """
        for kind, values in self._watched.items():
            rows = [
                self.op('Reshape', self.op('ReduceMax', self.op('Abs', value)), self.integers(1))
                for value in values
            ]
            self.output(
                f'max_{kind}', self.op('Concat', *rows, axis=0), self.compute, (len(values),)
            )

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one result and returns its name."""
        return self.ops(kind, inputs, 1, **attributes)[0]

    def ops(self, kind: str, inputs: Sequence[str], results: int, **attributes: Any) -> list[str]:
        """Adds a node with several results and returns their names."""
        self._count += 1
        name = '/'.join((*self._scopes, f'{kind}_{self._count}'))
        names = [name if results == 1 else f'{name}:{index}' for index in range(results)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names

    def integers(self, *values: int) -> str:
        """Adds a small int64 vector."""
        return self._constant(
            'int64_' + '_'.join(map(str, values)), np.array(values, np.int64), 'int64'
        )

    def byte(self, value: int) -> str:
        """Adds a uint8 scalar."""
        return self._constant(f'uint8_{value}', np.array(value, np.uint8), 'uint8')

    def number(self, value: float, dtype: str = '') -> str:
        """Adds a scalar in the compute format or another."""
        dtype = dtype or self.compute
        return self._constant(f'{dtype}_{value!r}', np.array(value, np.float32), dtype)

    def weight(self, stored: StoredTensor) -> str:
        """Refers to a tensor that stays in its file."""
        if stored.name not in self._initializers:
            tensor = TensorProto(
                name=stored.name,
                data_type=ELEMENT_TYPES[stored.dtype],
                dims=stored.shape,
                data_location=TensorProto.EXTERNAL,
            )
            for key, value in (
                ('location', stored.file),
                ('offset', stored.offset),
                ('length', stored.length),
            ):
                tensor.external_data.add(key=key, value=str(value))
            self._initializers[stored.name] = tensor
            self.files.add(stored.file)
        return stored.name

    def model(self) -> onnx.ModelProto:
        """Returns the finished model; the graph takes no more nodes."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [self._renamed.get(name, name) for name in names]
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [_value(spec) for spec in self.inputs],
            [_value(spec) for spec in self.outputs],
            list(self._initializers.values()),
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid('', self.opset)],
            producer_name=PRODUCER,
            ir_version=IR_VERSIONS[self.opset],
        )

    def _constant(self, name: str, values: NDArray[Any], dtype: str) -> str:
        if name not in self._initializers:
            raw = values
            if dtype in SAFETENSORS:
                raw = narrowed(SAFETENSORS[dtype], values.astype(np.float32))[1]
            self._initializers[name] = helper.make_tensor(
                name, ELEMENT_TYPES[dtype], values.shape, raw.tobytes(), raw=True
            )
        return name


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.dtype], spec.shape)
