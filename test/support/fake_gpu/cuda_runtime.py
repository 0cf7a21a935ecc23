# SPDX-License-Identifier: Apache-2.0
"""`cuda.bindings.runtime` over a FakeGpu: the functions that the code uses, with the real ones'
parameters and results.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from typing import Any

from support.fake_gpu.memory import Capture, FakeGpu, GpuFault

STREAM = 77


class cudaError_t(enum.IntEnum):
    """The names and values of CUDA."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorDevicesUnavailable = 46
    cudaErrorIllegalAddress = 700
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureUnsupported = 900


class cudaMemcpyKind(enum.IntEnum):
    """The names and values of CUDA."""

    cudaMemcpyDefault = 4


class cudaStreamCaptureMode(enum.IntEnum):
    """The names and values of CUDA."""

    cudaStreamCaptureModeThreadLocal = 1


class cudaGraphExec_t(int):
    """A handle."""


OK = cudaError_t.cudaSuccess
WORKS_WHEN_LOST = ('cudaGetErrorString', 'cudaDriverGetVersion', 'cudaRuntimeGetVersion')
Result = tuple[Any, ...]


def checked(gpu: FakeGpu, name: str, function: Callable[..., Result]) -> Callable[..., Result]:
    """Turns a fault into an error code, without values."""

    def call(*arguments: Any) -> Result:
        if gpu.lost and name not in WORKS_WHEN_LOST:
            return (cudaError_t(gpu.lost), None)
        if code := gpu.planted.pop(name, 0):
            return (cudaError_t(code), None)
        try:
            return function(*arguments)
        except GpuFault:
            return (cudaError_t(gpu.lost or cudaError_t.cudaErrorIllegalAddress), None)

    return call


def cuda_runtime(gpu: FakeGpu) -> types.ModuleType:
    """Makes a module that stands in for cuda.bindings.runtime."""
    module = types.ModuleType('cuda.bindings.runtime')
    for kind in (cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode, cudaGraphExec_t):
        setattr(module, kind.__name__, kind)
    module.cudaDeviceScheduleBlockingSync = 4
    module.cudaHostAllocMapped, module.cudaHostAllocPortable, module.cudaStreamNonBlocking = 2, 1, 1
    for functions in (_device(gpu), _memory(gpu), _stream(gpu), _events(gpu)):
        for name, function in functions.items():
            setattr(module, name, checked(gpu, name, function))
    return module


def _device(gpu: FakeGpu) -> dict[str, Callable[..., Result]]:
    def properties(device: int) -> Result:
        major, minor = gpu.compute
        return OK, types.SimpleNamespace(
            name=gpu.name.encode() + b'\0\0',
            major=major,
            minor=minor,
            integrated=int(gpu.is_integrated),
            multiProcessorCount=gpu.sm_count,
            totalGlobalMem=gpu.nominal_bytes,
        )

    def set_flags(flags: int) -> Result:
        gpu.flags.append(flags)
        return (OK,)

    def set_device(device: int) -> Result:
        if gpu.is_taken:
            return (cudaError_t.cudaErrorDevicesUnavailable,)
        return (OK if gpu.is_present else cudaError_t.cudaErrorNoDevice,)

    return {
        'cudaSetDeviceFlags': set_flags,
        'cudaSetDevice': set_device,
        'cudaGetDeviceProperties': properties,
        'cudaDriverGetVersion': lambda: (OK, gpu.driver),
        'cudaRuntimeGetVersion': lambda: (OK, gpu.runtime),
        'cudaGetLastError': lambda: (OK,),
        'cudaGetErrorString': lambda error: (OK, cudaError_t(error).name.encode()),
        'cudaMemGetInfo': lambda: (OK, gpu.total_bytes - gpu.used_bytes, gpu.total_bytes),
    }


def _memory(gpu: FakeGpu) -> dict[str, Callable[..., Result]]:
    def allocate(size: int, is_host: bool) -> Result:
        address = gpu.allocate(size, is_host)
        return (OK, address) if address else (cudaError_t.cudaErrorMemoryAllocation, None)

    def free(address: int) -> Result:
        gpu.free(address)
        return (OK,)

    def copy(target: int, source: int, size: int, kind: int, stream: int) -> Result:
        return copy_rows(target, size, source, size, size, 1, kind, stream)

    def copy_rows(
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        rows: int,
        kind: int,
        stream: int,
    ) -> Result:
        ends = [
            start + (rows - 1) * pitch + width
            for start, pitch in ((target, target_pitch), (source, source_pitch))
        ]
        if (
            stream != STREAM
            or width > min(target_pitch, source_pitch)
            or (target < ends[1] and source < ends[0])
        ):
            return (cudaError_t.cudaErrorInvalidValue,)

        def run() -> None:
            for row in range(rows):
                gpu.view(target + row * target_pitch, width)[:] = gpu.view(
                    source + row * source_pitch, width
                )

        gpu.view(target, 1), gpu.view(source, 1), gpu.view(ends[0] - 1, 1), gpu.view(ends[1] - 1, 1)
        gpu.enqueue(run, 2 * width * rows)
        return (OK,)

    def fill_rows(
        target: int, pitch: int, value: int, width: int, rows: int, stream: int
    ) -> Result:
        if stream != STREAM or width > pitch:
            return (cudaError_t.cudaErrorInvalidValue,)

        def run() -> None:
            for row in range(rows):
                gpu.view(target + row * pitch, width)[:] = value

        gpu.view(target + (rows - 1) * pitch, width)
        gpu.enqueue(run, width * rows)
        return (OK,)

    return {
        'cudaMalloc': lambda size: allocate(size, False),
        'cudaHostAlloc': lambda size, flags: allocate(size, True),
        'cudaHostGetDevicePointer': lambda pointer, flags: (OK, pointer),
        'cudaFree': free,
        'cudaFreeHost': free,
        'cudaMemcpyAsync': copy,
        'cudaMemcpy2DAsync': copy_rows,
        'cudaMemset2DAsync': fill_rows,
    }


def _stream(gpu: FakeGpu) -> dict[str, Callable[..., Result]]:
    def synchronize(stream: int) -> Result:
        gpu.synchronize()
        return (OK if stream == STREAM else cudaError_t.cudaErrorInvalidValue,)

    def begin(stream: int, mode: int) -> Result:
        gpu.capture = Capture()
        return (OK,)

    def end(stream: int) -> Result:
        if not gpu.can_capture:
            gpu.capture = None
            return (cudaError_t.cudaErrorStreamCaptureUnsupported, None)
        return OK, gpu.end_capture()

    def launch(graph: int, stream: int) -> Result:
        gpu.launch(int(graph))
        return (OK,)

    def destroy(graph: int) -> Result:
        return (OK if gpu.graphs.pop(int(graph), None) else cudaError_t.cudaErrorInvalidValue,)

    # An instance keeps the operations of the graph that it is made of; the graph itself may go.
    def instantiate(graph: int, flags: int) -> Result:
        gpu.capture = gpu.graphs[int(graph)]
        return OK, cudaGraphExec_t(gpu.end_capture())

    return {
        'cudaStreamCreateWithFlags': lambda flags: (OK, STREAM),
        'cudaStreamDestroy': lambda stream: (OK,),
        'cudaStreamSynchronize': synchronize,
        'cudaStreamBeginCapture': begin,
        'cudaStreamEndCapture': end,
        'cudaGraphInstantiate': instantiate,
        'cudaGraphLaunch': launch,
        'cudaGraphDestroy': destroy,
        'cudaGraphExecDestroy': destroy,
    }


def _events(gpu: FakeGpu) -> dict[str, Callable[..., Result]]:
    times: dict[int, float | None] = {}

    def create() -> Result:
        times[len(times) + 1] = None
        return OK, len(times)

    def record(event: int, stream: int) -> Result:
        gpu.enqueue(lambda: times.update({event: gpu.clock}))
        return (OK,)

    def elapsed(start: int, end: int) -> Result:
        first, last = times[start], times[end]
        if first is None or last is None:  # the real one says that it is not ready
            return (cudaError_t.cudaErrorInvalidValue, None)
        return OK, 1000 * (last - first)

    return {
        'cudaEventCreate': create,
        'cudaEventRecord': record,
        'cudaEventElapsedTime': elapsed,
        'cudaEventDestroy': lambda event: (OK,),
    }
