# SPDX-License-Identifier: Apache-2.0
"""Copies within a device's memory: what the driver is told, and what becomes of its refusals."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from penguin_ros.backends.onnxruntime.device_memory import CudaMemory, HostMemory, Rows, memory_of
from penguin_ros.errors import BackendError, BackendUnavailable


class Driver:
    """Stands in for libcuda; the memory of its device is the host's."""

    def __init__(self, context: int = 7) -> None:
        self.context = context
        self.calls: list[str] = []
        self.failure = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith('cu'):
            raise AttributeError(name)
        return lambda *arguments: self._called(name, arguments)

    def _called(self, name: str, arguments: tuple[Any, ...]) -> int:
        self.calls.append(name)
        if name == 'cuCtxGetCurrent':
            arguments[0]._obj.value = self.context
        elif name == 'cuDevicePrimaryCtxRetain':
            arguments[0]._obj.value = 9
        elif name == 'cuCtxSetCurrent':
            self.context = arguments[0].value
        elif name == 'cuMemcpy2DUnaligned_v2':
            order = arguments[0]._obj
            assert order.srcMemoryType == order.dstMemoryType == 2
            HostMemory().copy(
                Rows(order.dstDevice, order.dstPitch, order.WidthInBytes, order.Height),
                Rows(order.srcDevice, order.srcPitch, order.WidthInBytes, order.Height),
            )
        elif name == 'cuMemsetD2D8_v2':
            address, pitch, value, width, height = (each.value for each in arguments)
            assert value == 0
            HostMemory().clear(Rows(address, pitch, width, height))
        return self.failure


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: driver)
    return driver


def test_rows_are_copied_and_cleared_where_they_lie_and_nowhere_else(driver: Driver) -> None:
    source, target = np.arange(60, dtype=np.uint8).reshape(5, 12), np.full((5, 9), 255, np.uint8)
    memory = memory_of('cuda')
    memory.copy(
        Rows(target[1:, 2:].ctypes.data, 9, 4, 3), Rows(source[2:, 5:].ctypes.data, 12, 4, 3)
    )
    expected = np.full((5, 9), 255, np.uint8)
    expected[1:4, 2:6] = source[2:5, 5:9]
    assert np.array_equal(target, expected)
    memory.clear(Rows(target[3:, 1:].ctypes.data, 9, 3, 2))
    expected[3:5, 1:4] = 0
    assert np.array_equal(target, expected)
    memory.wait()
    assert driver.calls[-1] == 'cuCtxSynchronize'


def test_a_thread_without_a_context_takes_the_one_of_the_runtime(driver: Driver) -> None:
    driver.context = 0
    CudaMemory()
    assert driver.context == 9
    driver.calls.clear()
    CudaMemory()
    assert 'cuCtxSetCurrent' not in driver.calls


def test_an_error_of_the_driver_has_a_name(driver: Driver) -> None:
    memory = CudaMemory()
    driver.failure = 700
    with pytest.raises(BackendError, match='cuCtxSynchronize returned error 700'):
        memory.wait()


def test_no_driver_and_one_that_is_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise OSError(f'{name}: cannot open shared object file')

    monkeypatch.setattr(ctypes, 'CDLL', absent)
    with pytest.raises(BackendUnavailable, match=r'libcuda.so.1.*NVIDIA driver'):
        CudaMemory()
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())
    with pytest.raises(BackendUnavailable, match=r'has no cuInit.*Update'):
        CudaMemory()
