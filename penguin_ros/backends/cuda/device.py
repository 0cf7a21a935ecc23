# SPDX-License-Identifier: Apache-2.0
"""One NVIDIA GPU through NVIDIA's own Python bindings: memory, copies, one stream, captured graphs.

Importing this file needs `cuda-bindings`; nothing here needs torch. Addresses are plain integers.
Every copy and every launch is queued on the one stream and done in order; the host sees results
after `synchronize`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart

from penguin_ros.backends.cuda.buffers import Gpu, HostBuffer, StridedRows
from penguin_ros.backends.cuda.faults import fault
from penguin_ros.backends.cuda.versions import device_advice, refusal, text
from penguin_ros.errors import BackendError, BackendUnavailable, OutOfMemory
from penguin_ros.jetson import Jetson, find_jetson

REFUSING_RELEASE = (36, 4, 7)
"""The Jetson Linux whose allocator does not get what the page cache has; reported by many."""


def nothing() -> None:
    """Reclaims no memory."""


class CudaDevice:
    """The first GPU. BackendUnavailable when there is none that this process can use. `reclaim` is
    called when an allocation fails, before it is tried once more.

    One thread opens, uses and closes it.
    """

    def __init__(self, reclaim: Callable[[], None] = nothing) -> None:
        self.reclaim = reclaim
        # First of all, since a runtime that is too new fails at everything else without saying why.
        driver, runtime = versions()
        jetson = find_jetson()
        if error := refusal(driver, runtime, jetson):
            raise error
        try:
            _let_waiting_sleep()
            _call('cudaSetDevice', cudart.cudaSetDevice(0))
            (self._stream,) = _call(
                'cudaStreamCreateWithFlags',
                cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking),
            )
        except BackendUnavailable:  # it says more than what follows
            raise
        except (BackendError, RuntimeError) as error:
            raise BackendUnavailable(
                'no CUDA device can be used',
                str(error),
                device_advice(driver, runtime, jetson),
            ) from error
        self._allocated: dict[int, Callable[[], tuple[Any, ...]]] = {}

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""
        return int(self._stream)

    @property
    def gpu(self) -> Gpu:
        """What GPU this is."""
        (properties,) = _call('cudaGetDeviceProperties', cudart.cudaGetDeviceProperties(0))
        (version,) = _call('cudaRuntimeGetVersion', cudart.cudaRuntimeGetVersion())
        name = properties.name
        name = name.decode() if isinstance(name, bytes) else str(name)
        return Gpu(
            name.rstrip('\0'),
            f'{properties.major}.{properties.minor}',
            text(int(version)),
            bool(properties.integrated),
            int(properties.multiProcessorCount),
            int(properties.totalGlobalMem),
        )

    def memory(self) -> tuple[int, int]:
        """Returns free and total bytes. On a Jetson this is the memory of the whole system."""
        free, total = _call('cudaMemGetInfo', cudart.cudaMemGetInfo())
        return int(free), int(total)

    def allocate(self, byte_count: int) -> int:
        """Allocates device memory with unknown content; OutOfMemory with the numbers."""
        (address,) = self._memory_call(
            'cudaMalloc', byte_count, lambda: cudart.cudaMalloc(byte_count)
        )
        self._allocated[int(address)] = lambda: cudart.cudaFree(address)
        return int(address)

    def allocate_host(self, byte_count: int) -> HostBuffer:
        """Allocates pinned memory, zeroed, mapped into the device's address space."""
        flags = cudart.cudaHostAllocMapped | cudart.cudaHostAllocPortable
        (pointer,) = self._memory_call(
            'cudaHostAlloc', byte_count, lambda: cudart.cudaHostAlloc(byte_count, flags)
        )
        host = int(pointer)
        self._allocated[host] = lambda: cudart.cudaFreeHost(pointer)
        (address,) = _call('cudaHostGetDevicePointer', cudart.cudaHostGetDevicePointer(pointer, 0))
        values = np.ctypeslib.as_array((ctypes.c_uint8 * byte_count).from_address(host))
        values[:] = 0
        return HostBuffer(values, int(address), host)

    def free(self, address: int) -> None:
        """Gives back what `allocate` returned, or the host address of a HostBuffer. Waits for the
        stream.
        """
        _call('cudaFree', self._allocated.pop(address)())

    def copy(self, target: int, source: int, byte_count: int) -> None:
        """Queues a copy; both may be device memory or mapped host memory, and must not overlap."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDefault
        _call(
            'cudaMemcpyAsync',
            cudart.cudaMemcpyAsync(target, source, byte_count, kind, self._stream),
        )

    def copy_rows(
        self, target: StridedRows, source: StridedRows, row_bytes: int, rows: int
    ) -> None:
        """Queues a copy of `rows` pieces of `row_bytes`; source and target must not overlap."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDefault
        _call(
            'cudaMemcpy2DAsync',
            cudart.cudaMemcpy2DAsync(
                target.address,
                target.pitch,
                source.address,
                source.pitch,
                row_bytes,
                rows,
                kind,
                self._stream,
            ),
        )

    def zero_rows(self, target: StridedRows, row_bytes: int, rows: int) -> None:
        """Queues setting `rows` pieces of `row_bytes` to zero."""
        _call(
            'cudaMemset2DAsync',
            cudart.cudaMemset2DAsync(
                target.address, target.pitch, 0, row_bytes, rows, self._stream
            ),
        )

    def zero(self, address: int, byte_count: int) -> None:
        """Queues setting memory to zero."""
        self.zero_rows(StridedRows(address, byte_count), byte_count, 1)

    def synchronize(self) -> None:
        """Waits for all that was queued; BackendError when any of it failed."""
        _call('cudaStreamSynchronize', cudart.cudaStreamSynchronize(self._stream))

    def capture(self, enqueue: Callable[[], None]) -> int:
        """Records what `enqueue` queues, without running it, as a graph to be launched. It raises
        whatever stops it; the stream is usable again in any case.
        """
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _call('cudaStreamBeginCapture', cudart.cudaStreamBeginCapture(self._stream, mode))
        try:
            enqueue()
        except BaseException:
            self._discard_capture()
            raise
        (graph,) = _call('cudaStreamEndCapture', cudart.cudaStreamEndCapture(self._stream))
        try:
            (executable,) = _call('cudaGraphInstantiate', cudart.cudaGraphInstantiate(graph, 0))
        finally:
            cudart.cudaGraphDestroy(graph)
        self._allocated[int(executable)] = lambda: cudart.cudaGraphExecDestroy(executable)
        return int(executable)

    def launch(self, graph: int) -> None:
        """Queues a captured graph."""
        _call(
            'cudaGraphLaunch', cudart.cudaGraphLaunch(cudart.cudaGraphExec_t(graph), self._stream)
        )

    def time(self, enqueue: Callable[[], None]) -> float:
        """Queues what `enqueue` queues, waits for it, and returns the seconds that it took on the
        device's own clock.
        """
        start, end = (_call('cudaEventCreate', cudart.cudaEventCreate())[0] for _ in range(2))
        try:
            _call('cudaEventRecord', cudart.cudaEventRecord(start, self._stream))
            enqueue()
            _call('cudaEventRecord', cudart.cudaEventRecord(end, self._stream))
            self.synchronize()
            (milliseconds,) = _call('cudaEventElapsedTime', cudart.cudaEventElapsedTime(start, end))
            return float(milliseconds) / 1000
        finally:
            for event in (start, end):
                cudart.cudaEventDestroy(event)

    def close(self) -> None:
        """Frees everything that was allocated and captured, then the stream; harmless when called
        again.
        """
        if self._stream is None:
            return
        cudart.cudaStreamSynchronize(self._stream)
        for free in reversed(list(self._allocated.values())):
            free()
        self._allocated.clear()
        cudart.cudaStreamDestroy(self._stream)
        self._stream = None

    def _discard_capture(self) -> None:
        _, graph = cudart.cudaStreamEndCapture(self._stream)
        if graph is not None and int(graph):
            cudart.cudaGraphDestroy(graph)
        cudart.cudaGetLastError()

    def _memory_call(
        self, name: str, byte_count: int, call: Callable[[], tuple[Any, ...]]
    ) -> tuple[Any, ...]:
        if byte_count < 1:
            raise BackendError(f'{name} of {byte_count} bytes', 'a buffer has at least one')
        result = call()
        if result[0] == cudart.cudaError_t.cudaErrorMemoryAllocation:
            cudart.cudaGetLastError()
            self.reclaim()
            result = call()
        if result[0] == cudart.cudaError_t.cudaErrorMemoryAllocation:
            cudart.cudaGetLastError()
            raise self.out_of_memory(f'the GPU has no room for {byte_count / 1e6:.1f} MB')
        return _call(name, result)

    def out_of_memory(self, what: str) -> OutOfMemory:
        """Returns the error for an allocation that failed twice, with the numbers."""
        free, total = self.memory()
        return OutOfMemory(
            what, f'{free / 1e6:.0f} of {total / 1e6:.0f} MB are free', memory_advice(find_jetson())
        )


def memory_advice(jetson: Jetson | None) -> str:
    """Returns what to do when the GPU's memory runs out."""
    usual = (
        'Lower model.max_length or model.kv_slots, close other programs, or run without a desktop'
    )
    if jetson is None or jetson.release[:3] != REFUSING_RELEASE:
        return usual
    return (
        'Jetson Linux 36.4.7 refuses large allocations beside cached files: upgrade to 36.5 '
        f'(JetPack 6.2.2): sudo apt update && sudo apt upgrade. {usual}'
    )


def _let_waiting_sleep() -> None:
    """Makes waiting for an integrated GPU give the processor to others; spinning would keep one of
    its few cores busy all the time that a token is decoded. Before the device is first used.
    """
    (properties,) = _call('cudaGetDeviceProperties', cudart.cudaGetDeviceProperties(0))
    if properties.integrated:
        flags = cudart.cudaDeviceScheduleBlockingSync
        _call('cudaSetDeviceFlags', cudart.cudaSetDeviceFlags(flags))


def versions() -> tuple[int, int]:
    """Returns the versions of the driver, 0 without one, and of the runtime in the bindings, as
    12060 for CUDA 12.6. These calls open no device.
    """
    (driver,) = _call('cudaDriverGetVersion', cudart.cudaDriverGetVersion())
    (runtime,) = _call('cudaRuntimeGetVersion', cudart.cudaRuntimeGetVersion())
    return int(driver), int(runtime)


def is_stand_in() -> bool:
    """Returns whether what is used as CUDA here is a stand-in of a test, which no file holds."""
    return getattr(cudart, '__file__', None) is None


def _call(name: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns what a CUDA function returned, without the error code in front; a named error with
    CUDA's words when that is one, see `faults`.
    """
    error, *values = result
    if error != cudart.cudaError_t.cudaSuccess:
        _, said = cudart.cudaGetErrorString(error)
        words = said.decode() if isinstance(said, bytes) else str(said)
        raise fault(name, int(error), words)
    return tuple(values)
