# SPDX-License-Identifier: Apache-2.0
"""A small engine of one graph with fixed sizes: it is built, loaded, looked into, recorded as a
CUDA graph and timed.

Importing this file needs tensorrt, cuda-bindings and onnx.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from penguin_ros.backends.base.manifest import TensorSpec
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.tensorrt.engine import Context, Engine, Workspace
from penguin_ros.backends.tensorrt.inspector import LayerCounts, engine_layers, layer_counts
from penguin_ros.backends.tensorrt.library import STORAGE
from penguin_ros.export.graph import ELEMENT_TYPES
from penguin_ros.export.tensorrt.builder import BuilderSettings, BuildInput, Network
from penguin_ros.export.tensorrt.graph import weight_bytes

WORKSPACE_BYTES = 1 << 30
LEAST_WORKSPACE = 1024
REPLAYS = 10
FORMATS: dict[int, str] = {int(kind): name for name, kind in ELEMENT_TYPES.items()}
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class MicroGraph:
    """A graph with a size for each of its named dimensions and values for its inputs, those in the
    storage type of their format. Inputs without values are zero; `in_place` has outputs that share
    the memory of an input. An engine takes exactly these sizes unless `profiles` say otherwise.
    """

    model: onnx.ModelProto
    path: Path
    dimensions: Mapping[str, int]
    values: Mapping[str, Array]
    in_place: Mapping[str, str]
    profiles: tuple[Mapping[str, tuple[int, int, int]], ...] = ()

    def build_input(self) -> BuildInput:
        """Returns what the builder takes."""
        fixed = {name: (size, size, size) for name, size in self.dimensions.items()}
        inputs = tuple(map(_spec, self.model.graph.input))
        return BuildInput(self.model, self.path, inputs, self.profiles or (fixed,))

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of an input or output."""
        values = (*self.model.graph.input, *self.model.graph.output)
        spec = next(_spec(value) for value in values if value.name == name)
        return tuple(
            size if isinstance(size, int) else self.dimensions[size] for size in spec.shape
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """What one engine gave: `seconds` of one run on the device's clock, `outputs` by name."""

    build_s: float
    plan_bytes: int
    weight_bytes: int
    workspace_bytes: int
    context_bytes: int
    seconds: float
    layers: LayerCounts
    outputs: Mapping[str, Array]

    def facts(self) -> dict[str, Any]:
        """Returns plain values."""
        counts = vars(self.layers)
        kept = ('build_s', 'plan_bytes', 'weight_bytes', 'workspace_bytes', 'context_bytes')
        return {name: getattr(self, name) for name in kept} | {'seconds': self.seconds} | counts


def measure(graph: MicroGraph, device: CudaDevice, folder: Path, repeats: int) -> Measured:
    """Builds, runs and times; BackendError or OutOfMemory when it does not go."""
    plan = folder / 'micro.plan'
    start = time.perf_counter()
    settings = BuilderSettings(workspace_bytes=WORKSPACE_BYTES, is_detailed=True)
    Network(graph.build_input()).build(settings, plan, lambda fraction: None)
    build_s = time.perf_counter() - start
    engine = Engine(plan, device)
    try:
        run = MicroRun(engine, graph)
        seconds = run.seconds(repeats)
        return Measured(
            round(build_s, 2),
            plan.stat().st_size,
            weight_bytes(graph.model),
            run.workspace.place.byte_count,
            run.context_bytes,
            seconds,
            layer_counts(engine_layers(engine), weight_shapes(graph.model)),
            run.outputs(),
        )
    finally:
        engine.close()
        plan.unlink(missing_ok=True)


def weight_shapes(model: onnx.ModelProto) -> set[tuple[int, ...]]:
    """Returns the shapes of the weights that are stored as integers."""
    values = {node.input[0] for node in model.graph.node if node.op_type == 'DequantizeLinear'}
    return {tuple(item.dims) for item in model.graph.initializer if item.name in values}


class MicroRun:
    """An engine with memory for its tensors, ready to be run again and again."""

    def __init__(self, engine: Engine, graph: MicroGraph) -> None:
        self._engine, self._graph, self._device = engine, graph, engine.device
        device = self._device
        size = max(LEAST_WORKSPACE, engine.workspace_bytes())
        self.workspace = Workspace(device, size, is_fixed=True)
        self._addresses: dict[str, int] = {}
        for name in engine.tensors:
            if name not in graph.in_place:
                self._addresses[name] = device.allocate(self._byte_count(name))
        for output, source in graph.in_place.items():
            self._addresses[output] = self._addresses[source]
        self._fill()
        before = device.memory()[0]
        self._context = Context(engine, self._profile(), self.workspace)
        self._context.bind(self._addresses)
        self._context.reshape(
            {
                name: graph.shape(name)
                for name, tensor in engine.tensors.items()
                if tensor.is_input and -1 in tensor.shape
            }
        )
        self._context.enqueue()
        device.synchronize()
        self.context_bytes = max(0, before - device.memory()[0])

    def seconds(self, repeats: int) -> float:
        """Returns the seconds of one run as a CUDA graph, the median of several rounds; without a
        graph where none can be recorded.
        """
        device = self._device
        try:
            graph = device.capture(self._context.enqueue)
        except Exception:  # whatever stops a recording, launches are timed then
            launch = self._context.enqueue
        else:

            def launch() -> None:
                device.launch(graph)

        def replay() -> None:
            for _ in range(REPLAYS):
                launch()

        device.time(replay)
        times = sorted(device.time(replay) / REPLAYS for _ in range(repeats))
        return times[len(times) // 2]

    def outputs(self) -> dict[str, Array]:
        """Returns a copy of every output but the caches, and gives the memory back."""
        found = {
            name: self._read(name)
            for name, tensor in self._engine.tensors.items()
            if not tensor.is_input and name not in self._graph.in_place
        }
        self._context.close()
        for address in {*self._addresses.values(), self.workspace.place.address}:
            self._device.free(address)
        return found

    def _profile(self) -> int:
        """Returns the first profile that takes the sizes."""
        inputs = [tensor for tensor in self._engine.tensors.values() if tensor.is_input]
        for index in range(self._engine.profiles):
            if all(
                low <= size <= high
                for tensor in inputs
                for low, size, high in zip(
                    tensor.limits[index][0],
                    self._graph.shape(tensor.name),
                    tensor.limits[index][1],
                    strict=True,
                )
            ):
                return index
        return 0

    def _byte_count(self, name: str) -> int:
        return max(1, math.prod(self._graph.shape(name)) * self._storage(name).itemsize)

    def _fill(self) -> None:
        inputs = [name for name, tensor in self._engine.tensors.items() if tensor.is_input]
        size = max(self._byte_count(name) for name in inputs)
        pinned = self._device.allocate_host(size)
        for name in inputs:
            count = self._byte_count(name)
            pinned.bytes[:count] = 0
            if name in self._graph.values:
                values = np.ascontiguousarray(self._graph.values[name])
                pinned.bytes[:count] = values.reshape(-1).view(np.uint8)
            self._device.copy(self._addresses[name], pinned.address, count)
            self._device.synchronize()
        self._device.free(pinned.host_address)

    def _read(self, name: str) -> Array:
        count = self._byte_count(name)
        pinned = self._device.allocate_host(count)
        self._device.copy(pinned.address, self._addresses[name], count)
        self._device.synchronize()
        values = pinned.view(self._storage(name), self._graph.shape(name)).copy()
        self._device.free(pinned.host_address)
        return values

    def _storage(self, name: str) -> np.dtype[Any]:
        return STORAGE[self._engine.tensors[name].dtype]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    sizes = (
        size.dim_value if size.HasField('dim_value') else size.dim_param for size in kind.shape.dim
    )
    return TensorSpec(value.name, FORMATS[kind.elem_type], tuple(sizes))
