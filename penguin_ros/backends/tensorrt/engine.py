# SPDX-License-Identifier: Apache-2.0
"""A built TensorRT engine: it is loaded, its tensors and profiles are read, and contexts run it.

Importing this file needs tensorrt. Every object of the library stands in a variable whose type is
known, so that a type checker can hold each call against the bindings of each supported version.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.tensorrt.bindings import trt
from penguin_ros.backends.tensorrt.kernel_cache import KernelCache, KernelFile
from penguin_ros.backends.tensorrt.log import LOG, failed
from penguin_ros.board_memory.page_cache import drop, forget_pages
from penguin_ros.errors import BackendError

Shape = tuple[int, ...]
MINIMUM = 1024
"""Bytes of a workspace that nothing was asked of yet."""

GROWTH = 1.25
"""How much a workspace grows at least, so that it does not for every frame that is a little
larger.
"""


class Place(NamedTuple):
    """A piece of device memory."""

    address: int
    byte_count: int


class Workspace:
    """The device memory for intermediate values, shared by contexts that do not run at once. It
    grows when a run of larger shapes needs more, so it is as large as what was really asked for.

    Where it lies changes then: what is captured in a CUDA graph needs one that `is_fixed`.
    """

    def __init__(
        self, device: CudaDevice, byte_count: int = MINIMUM, is_fixed: bool = False
    ) -> None:
        self._device = device
        self._is_fixed = False
        self.place = Place(0, 0)
        self.provide(byte_count)
        self._is_fixed = is_fixed

    def provide(self, byte_count: int) -> None:
        """Makes it at least so large; OutOfMemory leaves it empty."""
        if byte_count <= self.place.byte_count:
            return
        if self._is_fixed:
            raise BackendError(
                f'a run wants {byte_count} bytes for intermediate values',
                f'its engine asked for {self.place.byte_count} at most',
                'This is a defect; please report it',
            )
        size = max(byte_count, int(self.place.byte_count * GROWTH))
        if self.place.address:
            old, self.place = self.place, Place(0, 0)
            self._device.free(old.address)
        self.place = Place(self._device.allocate(size), size)


@dataclass(frozen=True)
class EngineTensor:
    """An input or output of an engine: `dtype` as TensorRT calls it ('HALF'), -1 where `shape` is
    dynamic; for inputs the smallest and the largest shape of each profile.
    """

    name: str
    is_input: bool
    dtype: str
    shape: Shape
    limits: tuple[tuple[Shape, Shape], ...]


class Engine:
    """The engine of a file in the device's memory; `close` gives the memory back once its contexts
    are closed too. BackendError when the file does not load. `kernels`: where those that the
    library compiles when the engine runs are kept.
    """

    def __init__(self, path: Path, device: CudaDevice, kernels: KernelFile | None = None) -> None:
        self.name = path.name
        self.device = device
        runtime: trt.Runtime = trt.Runtime(LOG)
        engine: trt.ICudaEngine | None = _loaded(runtime, path)
        if engine is None and LOG.lacked_memory:
            device.reclaim()
            engine = _loaded(runtime, path)
        if engine is None and LOG.lacked_memory:
            raise device.out_of_memory(f'{path} does not load, memory ran out')
        if engine is None:
            raise failed(f'{path} does not load')
        LOG.show_warnings(f'loading {path.name}')
        self._runtime: trt.Runtime | None = runtime
        self._engine: trt.ICudaEngine | None = engine
        self._kernels = KernelCache(engine, kernels) if kernels is not None else None
        self.profiles: int = engine.num_optimization_profiles
        self.tensors = {
            tensor.name: tensor for tensor in map(self._tensor, range(engine.num_io_tensors))
        }

    @property
    def engine(self) -> trt.ICudaEngine:
        """TensorRT's object; BackendError when closed."""
        if self._engine is None:
            raise BackendError(f'{self.name} is closed', 'its backend was closed')
        return self._engine

    def aliased_input(self, output: str) -> str | None:
        """Returns the input that shares its memory with an output; None when none does, or TensorRT
        has no such outputs yet.
        """
        engine: trt.ICudaEngine = self.engine
        if hasattr(engine, 'get_aliased_input_tensor'):
            name: str | None = engine.get_aliased_input_tensor(output)
            return name
        return None

    def workspace_bytes(self, profile: int | None = None) -> int:
        """Returns what a context needs for its intermediate values at the largest shapes of a
        profile; None for the profile that needs most.
        """
        engine: trt.ICudaEngine = self.engine
        profiles = range(self.profiles) if profile is None else (profile,)
        sizes: list[int] = [
            engine.get_device_memory_size_for_profile_v2(index) for index in profiles
        ]
        return max(sizes)

    def profile_for(self, name: str, axis: int, size: int) -> int:
        """Returns the first profile that takes this size of an input's axis; BackendError when none
        does.
        """
        for index, (low, high) in enumerate(self.tensors[name].limits):
            if low[axis] <= size <= high[axis]:
                return index
        raise BackendError(
            f'{self.name} takes no {name} of size {size} on axis {axis}',
            'its profiles take '
            f'{[(low[axis], high[axis]) for low, high in self.tensors[name].limits]}',
        )

    def largest(self, name: str, axis: int) -> int:
        """Returns the largest size of an input's axis in any profile."""
        return max(high[axis] for _, high in self.tensors[name].limits)

    def new_context(self, is_captured: bool) -> trt.IExecutionContext | None:
        """Returns a context that takes its memory from outside; None when TensorRT refuses."""
        engine: trt.ICudaEngine = self.engine
        context: trt.IExecutionContext | None
        if self._kernels is None:
            strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = engine.create_execution_context(strategy)
        else:
            kernels = self._kernels
            config = kernels.for_capture if is_captured else kernels.plain
            context = engine.create_execution_context(config)
        return context

    def keep_kernels(self) -> None:
        """Stores what was compiled for this engine so far, where the library does that."""
        if self._kernels is not None:
            self._kernels.store()

    def close(self) -> None:
        """Drops TensorRT's objects, the engine before the runtime that made it."""
        self.keep_kernels()
        self._kernels = None
        self._engine = None
        self._runtime = None

    def _tensor(self, index: int) -> EngineTensor:
        engine: trt.ICudaEngine = self.engine
        name: str = engine.get_tensor_name(index)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        dtype: trt.DataType = engine.get_tensor_dtype(name)
        return EngineTensor(
            name,
            is_input,
            dtype.name,
            tuple(engine.get_tensor_shape(name)),
            tuple(self._limits(name, profile) for profile in range(self.profiles))
            if is_input
            else (),
        )

    def _limits(self, name: str, profile: int) -> tuple[Shape, Shape]:
        engine: trt.ICudaEngine = self.engine
        low, _, high = engine.get_tensor_profile_shape(name, profile)
        return tuple(low), tuple(high)


class Context:
    """One way of running an engine: a profile, the addresses of all tensors, the shapes of the
    inputs.

    Intermediate values lie in the workspace, which contexts that do not run at the same time may
    share, and of which a run takes what its shapes need. `is_captured`: its runs are to be captured
    as a CUDA graph.
    """

    def __init__(
        self, engine: Engine, profile: int, workspace: Workspace, is_captured: bool = False
    ) -> None:
        self.engine = engine
        context: trt.IExecutionContext | None = engine.new_context(is_captured)
        if context is None:
            raise failed(f'{engine.name}: no execution context')
        self._context: trt.IExecutionContext | None = context
        if not context.set_optimization_profile_async(profile, engine.device.stream):
            raise failed(f'{engine.name}: profile {profile} was refused')
        self._workspace = workspace
        self._placed: Place | None = None
        """Where the context has its memory; None after its shapes have changed."""

        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}

    @property
    def context(self) -> trt.IExecutionContext:
        """TensorRT's object; BackendError when closed."""
        if self._context is None:
            raise BackendError(f'{self.engine.name}: this context is closed')
        return self._context

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Sets where tensors lie from now on."""
        context: trt.IExecutionContext = self.context
        for name, address in addresses.items():
            if self._addresses.get(name) != address:
                if not context.set_tensor_address(name, address):
                    raise failed(f'{self.engine.name}: address of {name} was refused')
                self._addresses[name] = address

    def reshape(self, shapes: Mapping[str, Shape]) -> None:
        """Sets the shapes of inputs from now on; BackendError when the profile does not take
        one.
        """
        context: trt.IExecutionContext = self.context
        for name, shape in shapes.items():
            if self._shapes.get(name) != shape:
                if not context.set_input_shape(name, trt.Dims(list(shape))):
                    raise failed(f'{self.engine.name}: {name} of shape {shape} was refused')
                self._shapes[name] = shape
                self._placed = None

    def enqueue(self) -> None:
        """Queues one run on the device's stream; BackendError when a tensor has no address or an
        input no shape.
        """
        context: trt.IExecutionContext = self.context
        unbound = [name for name in self.engine.tensors if name not in self._addresses]
        missing = unbound or context.infer_shapes()
        if missing:
            raise BackendError(
                f'{self.engine.name} cannot run', f'these are not set: {", ".join(missing)}'
            )
        self._provide_memory()
        if not context.execute_async_v3(self.engine.device.stream):
            raise failed(f'{self.engine.name} failed')

    def _provide_memory(self) -> None:
        context: trt.IExecutionContext = self.context
        if self._placed is None:
            self._workspace.provide(context.update_device_memory_size_for_shapes())
        if self._placed != self._workspace.place:
            context.set_device_memory(*self._workspace.place)
            self._placed = self._workspace.place

    def close(self) -> None:
        """Drops TensorRT's object."""
        self._context = None


def _loaded(runtime: trt.Runtime, path: Path) -> trt.ICudaEngine | None:
    """Loads a file, and takes it out of the page cache again; None when TensorRT refuses it."""
    LOG.clear()
    try:
        with (
            path.open('rb') as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            # A map, not a copy: an engine is gigabytes, and what is read of it may leave memory
            # again.
            engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(content)
            forget_pages(content)
    except (OSError, ValueError) as error:
        raise BackendError(f'{path} does not load', str(error)) from error
    drop(path)
    return engine
