# SPDX-License-Identifier: Apache-2.0
"""The step that tries each call of CUDA that the backend makes, on a few megabytes, and compares
what comes back with what must.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from penguin_ros.backends.cuda.buffers import HostBuffer, StridedRows
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.errors import BackendError

ROWS, PITCH, WIDTH = 64, 1024, 768
SIZE = ROWS * PITCH


def run(order: StepOrder, note: Note) -> None:
    """Notes '' or what was wrong by the name of each call; BackendError when any was."""
    device = CudaDevice()
    try:
        wrong: dict[str, str] = {}
        for name, check in CHECKS.items():
            wrong[name] = check(device)
            note({'wrong': wrong})
    finally:
        device.close()
    found = [f'{name}: {why}' for name, why in wrong.items() if why]
    if found:
        raise BackendError(
            'CUDA does not compute what it should',
            '; '.join(found),
            'Restart the board; if it stays, flash the release of Jetson Linux again',
        )


def _memory(device: CudaDevice) -> str:
    addresses = [device.allocate(SIZE) for _ in range(2)]
    for address in addresses:
        device.free(address)
    return '' if len(set(addresses)) == 2 else 'two blocks lie at one address'


def _copies_of_rows(device: CudaDevice) -> str:
    """Sends rows to the device, zeroes half of them there and fetches them again."""
    values = np.random.default_rng(0).integers(0, 255, (ROWS, WIDTH), np.uint8)
    sent, fetched = device.allocate_host(ROWS * WIDTH), device.allocate_host(ROWS * WIDTH)
    there = StridedRows(device.allocate(SIZE), PITCH)
    sent.bytes[:] = values.reshape(-1)
    device.copy_rows(there, StridedRows(sent.address, WIDTH), WIDTH, ROWS)
    device.zero_rows(StridedRows(there.address, PITCH), WIDTH // 2, ROWS)
    device.copy_rows(StridedRows(fetched.address, WIDTH), there, WIDTH, ROWS)
    device.synchronize()
    values[:, : WIDTH // 2] = 0
    return _difference(fetched, values)


def _shared_memory(device: CudaDevice) -> str:
    """Lets host and device write to the same memory by turns."""
    shared, there = device.allocate_host(SIZE), device.allocate(SIZE)
    for value in (3, 5):
        shared.bytes[:] = value
        device.copy(there, shared.address, SIZE)
        device.synchronize()
        shared.bytes[:] = 0
        device.copy(shared.address, there, SIZE)
        device.synchronize()
        if why := _difference(shared, np.full(SIZE, value, np.uint8)):
            return why
    return ''


def _captured_copy(device: CudaDevice) -> str:
    """Records a copy as a graph and runs it on other values."""
    source, target = device.allocate_host(SIZE), device.allocate_host(SIZE)
    device.copy(target.address, source.address, SIZE)
    device.synchronize()
    graph = device.capture(lambda: device.copy(target.address, source.address, SIZE))
    source.bytes[:] = 7
    device.launch(graph)
    device.synchronize()
    return _difference(target, np.full(SIZE, 7, np.uint8))


def _clock(device: CudaDevice) -> str:
    source, target = device.allocate(SIZE), device.allocate(SIZE)
    device.zero_rows(StridedRows(source, SIZE), SIZE, 1)
    seconds = device.time(lambda: device.copy(target, source, SIZE))
    return '' if 0 < seconds < 1 else f'a copy took {seconds} s'


def _difference(buffer: HostBuffer, expected: np.ndarray) -> str:
    wrong = int((buffer.bytes != expected.reshape(-1)).sum())
    return f'{wrong} of {expected.size} bytes are not what was written' if wrong else ''


CHECKS: dict[str, Callable[[CudaDevice], str]] = {
    'memory': _memory,
    'copies of rows': _copies_of_rows,
    'memory that host and device share': _shared_memory,
    'a recorded copy': _captured_copy,
    'the clock of the device': _clock,
}
