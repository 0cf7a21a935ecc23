# SPDX-License-Identifier: Apache-2.0
"""Copies and clearing within the memory of a device, which ONNX Runtime's Python interface does not
offer: rows of bytes a fixed distance apart, by address.

Through the host, a copy of one KV slot of the 2B model takes a fifth of a second. On CUDA the
driver does it; it is there wherever the CUDA provider is, in every version, and needs no package.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

from penguin_ros.errors import BackendError, BackendUnavailable

_DEVICE = 2
"""What the driver calls memory of the device."""

_SYMBOLS = (
    'cuInit',
    'cuCtxGetCurrent',
    'cuDevicePrimaryCtxRetain',
    'cuCtxSetCurrent',
    'cuMemcpy2DUnaligned_v2',
    'cuMemsetD2D8_v2',
    'cuCtxSynchronize',
)


@dataclass(frozen=True)
class Rows:
    """`count` rows of `width` bytes, the first at `address`, each `pitch` bytes behind the one
    before.
    """

    address: int
    pitch: int
    width: int
    count: int


class DeviceMemory(Protocol):
    """What the cache needs of a device. Calls may return before they are done; `wait` does not."""

    def copy(self, target: Rows, source: Rows) -> None:
        """Copies rows to as many rows of the same width; the two must not overlap."""

    def clear(self, target: Rows) -> None:
        """Sets rows to zero."""

    def wait(self) -> None:
        """Returns when everything before is done."""


def memory_of(device: str) -> DeviceMemory:
    """Returns the memory of a device, 'cpu' or 'cuda'; BackendUnavailable without a driver."""
    return HostMemory() if device == 'cpu' else CudaMemory()


class HostMemory:
    """The host as a device, for which the same cache can be used where there is no other."""

    def copy(self, target: Rows, source: Rows) -> None:
        """See DeviceMemory."""
        for row in range(source.count):
            ctypes.memmove(
                target.address + row * target.pitch,
                source.address + row * source.pitch,
                source.width,
            )

    def clear(self, target: Rows) -> None:
        """See DeviceMemory."""
        for row in range(target.count):
            ctypes.memset(target.address + row * target.pitch, 0, target.width)

    def wait(self) -> None:
        """See DeviceMemory."""


class _Copy2D(ctypes.Structure):
    """The driver's CUDA_MEMCPY2D."""

    _fields_ = (
        ('srcXInBytes', ctypes.c_size_t),
        ('srcY', ctypes.c_size_t),
        ('srcMemoryType', ctypes.c_uint),
        ('srcHost', ctypes.c_void_p),
        ('srcDevice', ctypes.c_uint64),
        ('srcArray', ctypes.c_void_p),
        ('srcPitch', ctypes.c_size_t),
        ('dstXInBytes', ctypes.c_size_t),
        ('dstY', ctypes.c_size_t),
        ('dstMemoryType', ctypes.c_uint),
        ('dstHost', ctypes.c_void_p),
        ('dstDevice', ctypes.c_uint64),
        ('dstArray', ctypes.c_void_p),
        ('dstPitch', ctypes.c_size_t),
        ('WidthInBytes', ctypes.c_size_t),
        ('Height', ctypes.c_size_t),
    )


class CudaMemory:
    """The first CUDA device, by the driver's own functions, on the thread that uses it."""

    def __init__(self) -> None:
        try:
            self._driver: Any = ctypes.CDLL('libcuda.so.1')
            missing = [name for name in _SYMBOLS if not hasattr(self._driver, name)]
        except OSError as error:
            raise BackendUnavailable(
                'no CUDA device can be used',
                f'there is no CUDA driver ({error})',
                'Install the NVIDIA driver, or set model.device to cpu',
            ) from error
        if missing:
            raise BackendUnavailable(
                'no CUDA device can be used',
                f'the CUDA driver has no {", ".join(missing)}',
                'Update the NVIDIA driver, or set model.device to cpu',
            )
        self._call('cuInit', 0)
        self._use_primary_context()

    def copy(self, target: Rows, source: Rows) -> None:
        """See DeviceMemory."""
        order = _Copy2D(
            srcMemoryType=_DEVICE,
            srcDevice=source.address,
            srcPitch=source.pitch,
            dstMemoryType=_DEVICE,
            dstDevice=target.address,
            dstPitch=target.pitch,
            WidthInBytes=source.width,
            Height=source.count,
        )
        self._call('cuMemcpy2DUnaligned_v2', ctypes.byref(order))

    def clear(self, target: Rows) -> None:
        """See DeviceMemory."""
        self._call(
            'cuMemsetD2D8_v2',
            ctypes.c_uint64(target.address),
            ctypes.c_size_t(target.pitch),
            ctypes.c_ubyte(0),
            ctypes.c_size_t(target.width),
            ctypes.c_size_t(target.count),
        )

    def wait(self) -> None:
        """See DeviceMemory."""
        self._call('cuCtxSynchronize')

    def _use_primary_context(self) -> None:
        """Makes the context that the CUDA runtime uses this thread's, where it has none yet."""
        context = ctypes.c_void_p()
        self._call('cuCtxGetCurrent', ctypes.byref(context))
        if not context.value:
            self._call('cuDevicePrimaryCtxRetain', ctypes.byref(context), 0)
            self._call('cuCtxSetCurrent', context)

    def _call(self, name: str, *arguments: Any) -> None:
        failed = getattr(self._driver, name)(*arguments)
        if failed:
            raise BackendError(
                'a copy within the memory of the GPU failed', f'{name} returned error {failed}'
            )
