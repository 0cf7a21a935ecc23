# SPDX-License-Identifier: Apache-2.0
"""TensorRT's engines and contexts over a FakeGpu: the graph runs in ONNX Runtime, everything around
it is checked.

It refuses what TensorRT refuses or silently gets wrong: an input without shape, a tensor without
address, a shape outside the profile, a cache whose output does not lie where its input lies, a
write past the cache's end, too little memory for intermediate values, a context that was changed
after it was captured, values that cannot be of the tensor's type.
"""

from __future__ import annotations

import functools
import io
import json
import math
import pickle
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from support.fake_gpu import bfloat16, engine_layers, rtx
from support.fake_gpu.cuda_runtime import STREAM
from support.fake_gpu.memory import ALIGNMENT, FakeGpu, GpuFault

from penguin_ros.backends.tensorrt.library import RTX

onnx = pytest.importorskip('onnx', reason='onnx is not installed')
onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

Shape = tuple[int, ...]
DTYPES = {
    onnx.TensorProto.FLOAT: 'FLOAT',
    onnx.TensorProto.FLOAT16: 'HALF',
    onnx.TensorProto.BFLOAT16: 'BF16',
    onnx.TensorProto.INT64: 'INT64',
    onnx.TensorProto.INT32: 'INT32',
    onnx.TensorProto.BOOL: 'BOOL',
    onnx.TensorProto.UINT8: 'UINT8',
}
NUMPY = {
    'FLOAT': np.float32,
    'HALF': np.float16,
    'BF16': np.uint16,
    'INT64': np.int64,
    'INT32': np.int32,
    'BOOL': np.bool_,
    'UINT8': np.uint8,
}
SCRATCH_BYTES = 8192
"""Bytes for intermediate values that every run takes, whatever its shapes."""


@dataclass
class BuiltEngine:
    """What the fake builder writes: a self-contained model and the shapes of each profile by input;
    for TensorRT for RTX also the compute capabilities that were asked for, and whether all memory
    comes from the user.
    """

    library: str
    version: str
    gpu: str
    model: bytes
    profiles: list[dict[str, tuple[Shape, Shape, Shape]]]
    targets: tuple[int, ...] = ()
    is_capturable: bool = True
    is_detailed: bool = False
    padding: bytes = b''
    extra_memory: list[float] = field(default_factory=list)
    aux_streams: int = -1

    def to_bytes(self) -> bytes:
        """Returns the content of a file."""
        return pickle.dumps(self)

    @classmethod
    def of(cls, content: bytes) -> BuiltEngine | None:
        """Reads a file; None when it is no engine."""
        try:
            built: BuiltEngine = pickle.load(io.BytesIO(content))
        except (pickle.UnpicklingError, EOFError, ValueError):
            return None
        return built

    def refusal(self, library: str, version: str, gpu: FakeGpu) -> str:
        """Returns why a library does not load it on a GPU; '' when it does."""
        if (self.library, self.version) != (library, version):
            return 'the engine does not fit this TensorRT'
        if library == RTX:
            return rtx.refusal(self.targets, version, gpu)
        return '' if self.gpu == gpu.name else 'the engine does not fit this GPU'


@functools.lru_cache(maxsize=8)
def session_of(model: bytes) -> onnxruntime.InferenceSession:
    """Opens a model without the attributes that only TensorRT knows. Skips the test where the
    installed ONNX Runtime, of Python 3.10 say, is older than the operators of a cache in place.
    """
    proto = onnx.load_model_from_string(model)
    for node in proto.graph.node:
        if node.domain == 'trt':
            node.op_type, node.domain = node.op_type.removeprefix('TRT_INT4'), ''
        kept = [attribute for attribute in node.attribute if not attribute.name.startswith('TRT_')]
        del node.attribute[:]
        node.attribute.extend(kept)
    bfloat16.compute_in_float32(proto)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    try:
        return onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=['CPUExecutionProvider']
        )
    except Exception as error:  # classes of its own, private to onnxruntime
        if 'Unsupported model IR version' in str(error):
            pytest.skip(f'onnxruntime {onnxruntime.__version__} is too old for this graph')
        raise


@dataclass
class Tensor:
    """An input or output; a dynamic size is -1."""

    name: str
    is_input: bool
    dtype: str
    shape: Shape


def tensors_of(model: onnx.ModelProto) -> dict[str, Tensor]:
    """Returns the inputs and outputs of a graph."""

    def shape(value: onnx.ValueInfoProto) -> Shape:
        return tuple(
            size.dim_value if size.HasField('dim_value') else -1
            for size in value.type.tensor_type.shape.dim
        )

    return {
        value.name: Tensor(
            value.name, is_input, DTYPES[value.type.tensor_type.elem_type], shape(value)
        )
        for is_input, values in ((True, model.graph.input), (False, model.graph.output))
        for value in values
    }


def aliases_of(model: onnx.ModelProto) -> dict[str, str]:
    """Returns the outputs that are a cache updated in place, with their inputs."""
    outputs, inputs = (
        {value.name for value in model.graph.output},
        {value.name for value in model.graph.input},
    )
    return {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == 'TensorScatter' and node.output[0] in outputs and node.input[0] in inputs
    }


class FakeEngine:
    """Stands in for ICudaEngine."""

    def __init__(
        self, built: BuiltEngine, gpu: FakeGpu, has_aliases: bool, log: Any, names: Any
    ) -> None:
        model = onnx.load_model_from_string(built.model)
        self.built, self.gpu, self.log, self._names = built, gpu, log, names
        self.tensors, self.aliases = tensors_of(model), aliases_of(model)
        self.caches = {name for name in self.tensors if name.startswith('past_')}
        self.cache_writes = {
            node.input[0]: node.input[2]
            for node in model.graph.node
            if node.op_type == 'TensorScatter'
        }
        self.num_optimization_profiles, self.num_io_tensors = len(built.profiles), len(self.tensors)
        self.run_bytes = engine_layers.run_bytes(model, gpu.unpacked)
        if has_aliases:
            self.get_aliased_input_tensor = self.aliases.get

    def create_engine_inspector(self) -> Any:
        layers = engine_layers.layers_of(self.built.model, self.gpu.unpacked)
        text = json.dumps({'Layers': layers if self.built.is_detailed else []})
        return types.SimpleNamespace(get_engine_information=lambda format: text)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return (
            self._names.TensorIOMode.INPUT
            if self.tensors[name].is_input
            else self._names.TensorIOMode.OUTPUT
        )

    def get_tensor_dtype(self, name: str) -> Any:
        return self._names.DataType[self.tensors[name].dtype]

    def get_tensor_shape(self, name: str) -> Shape:
        return self.tensors[name].shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> tuple[Shape, Shape, Shape]:
        shape = self.tensors[name].shape
        return self.built.profiles[profile_index].get(name, (shape, shape, shape))

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        largest = self.built.profiles[profile_index]
        return scratch_bytes([high for _, _, high in largest.values()])

    def create_execution_context(self, strategy: Any) -> FakeContext:
        assert strategy == self._names.ExecutionContextAllocationStrategy.USER_MANAGED
        return FakeContext(self)


def scratch_bytes(shapes: list[Shape]) -> int:
    """Returns the bytes for intermediate values of inputs of these shapes."""
    return SCRATCH_BYTES + 4 * sum(math.prod(shape) for shape in shapes)


@dataclass
class FakeContext:
    """Stands in for IExecutionContext; it starts without profile, memory, shapes and addresses."""

    engine: FakeEngine
    profile: int | None = None
    workspace: tuple[int, int] = (0, 0)
    needed: int = -1
    shapes: dict[str, Shape] = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)
    changes: int = 0
    enqueued_at: int = -1

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.profile, self.shapes, self.changes = profile_index, {}, self.changes + 1
        return stream_handle == STREAM and profile_index < self.engine.num_optimization_profiles

    def set_device_memory(self, memory: int, size: int) -> None:
        self.workspace, self.changes = (memory, size), self.changes + 1

    def update_device_memory_size_for_shapes(self) -> int:
        """Fits the memory to the shapes; until it is called again, others must not be run."""
        assert self.infer_shapes() == [] and self.profile is not None
        self.needed = scratch_bytes(list(self.shapes.values()))
        self.workspace, self.changes = (0, 0), self.changes + 1
        return self.needed

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine.tensors or memory % ALIGNMENT:
            return self._refuse(f'set_tensor_address {name} {memory:#x}')
        self.addresses[name], self.changes = memory, self.changes + 1
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        shape, tensor = tuple(shape), self.engine.tensors.get(name)
        if (
            tensor is None
            or not tensor.is_input
            or self.profile is None
            or len(shape) != len(tensor.shape)
        ):
            return self._refuse(f'set_input_shape {name} {shape}')
        low, _, high = self.engine.get_tensor_profile_shape(name, self.profile)
        if not all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
            return self._refuse(
                f'{name} {shape} does not satisfy profile {self.profile}: {low} to {high}'
            )
        self.shapes[name], self.changes = shape, self.changes + 1
        self.needed = -1
        return True

    def infer_shapes(self) -> list[str]:
        return [
            tensor.name
            for tensor in self.engine.tensors.values()
            if tensor.is_input and -1 in tensor.shape and tensor.name not in self.shapes
        ]

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine = self.engine
        unbound = [name for name in engine.tensors if name not in self.addresses]
        if unbound or self.infer_shapes() or stream_handle != STREAM or self.profile is None:
            return self._refuse(f'not set: {unbound} {self.infer_shapes()}')
        apart = [
            name
            for name, source in engine.aliases.items()
            if self.addresses[name] != self.addresses[source]
        ]
        of_profile = engine.get_device_memory_size_for_profile_v2(self.profile)
        needed = self.needed if self.needed >= 0 else of_profile
        if apart or self.workspace[1] < needed:
            return self._refuse(
                f'not bound to the memory of its input: {apart}; scratch {self.workspace}'
            )
        if engine.gpu.capture is not None and self.enqueued_at != self.changes:
            return self._refuse('captured before it ran with these shapes')
        if engine.gpu.capture is not None and not engine.built.is_capturable:
            return self._refuse('this engine allocates while it runs, which no capture survives')
        self.enqueued_at = self.changes
        run = Execution(
            self,
            self.changes,
            dict(self.shapes),
            dict(self.addresses),
            engine.gpu.capture is not None,
        )
        engine.gpu.enqueue(run, engine.run_bytes)
        return True

    def _refuse(self, why: str) -> bool:
        self.engine.log('ERROR', why)
        return False


@dataclass
class Execution:
    """Does one run, with the shapes and addresses of the moment when it was queued."""

    context: FakeContext
    changes: int
    shapes: dict[str, Shape]
    addresses: dict[str, int]
    is_captured: bool

    def __call__(self) -> None:
        context, engine = self.context, self.context.engine
        if self.is_captured and context.changes != self.changes:
            raise GpuFault('this context was changed after it was captured')
        engine.gpu.write(context.workspace[0], np.full(context.workspace[1], 0xFF, np.uint8))
        inputs = {
            tensor.name: self._read(tensor) for tensor in engine.tensors.values() if tensor.is_input
        }
        for cache, index in engine.cache_writes.items():
            if inputs[index][0] + inputs['inputs_embeds'].shape[1] > inputs[cache].shape[2]:
                raise GpuFault(f'a write past the end of {cache}')
        session = session_of(engine.built.model)
        names = [output.name for output in session.get_outputs()]
        for name, values in zip(names, session.run(names, inputs), strict=True):
            is_bfloat16 = engine.tensors[name].dtype == 'BF16'
            stored = bfloat16.narrow(values) if is_bfloat16 else values
            engine.gpu.write(self.addresses[name], stored)

    def _read(self, tensor: Tensor) -> np.ndarray:
        shape = self.shapes.get(tensor.name, tensor.shape)
        dtype = np.dtype(NUMPY[tensor.dtype])
        values = self.context.engine.gpu.view(
            self.addresses[tensor.name], int(np.prod(shape)) * dtype.itemsize
        )
        if dtype == np.bool_ and values.max(initial=0) > 1:
            raise GpuFault(f'{tensor.name} holds no booleans')
        typed = values.view(dtype).reshape(shape).copy()
        if tensor.dtype == 'BF16':
            typed, dtype = bfloat16.wide(typed), np.dtype(np.float32)
        # A cache may hold NaN where it is masked; then the results will.
        if (
            dtype.kind == 'f'
            and tensor.name not in self.context.engine.caches
            and np.isnan(typed).any()
        ):
            raise GpuFault(f'{tensor.name} holds NaN: memory that was never written')
        return typed
