# SPDX-License-Identifier: Apache-2.0
"""The step that finds the largest block that CUDA gives: at first, after a large file was read into
the page cache, and after the file was dropped from it again; and how fast memory is copied.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path

from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.board.machine_facts import memory
from penguin_ros.board.steps import Note, StepOrder
from penguin_ros.board_memory.page_cache import drop
from penguin_ros.errors import OutOfMemory

SHARE = 0.9
"""The share of what is available that is asked for at most."""

TRIES = 8
READ_BYTES = 1 << 22


def run(order: StepOrder, note: Note) -> None:
    """Notes the ceilings in bytes, and rates in bytes per second."""
    sizes = order.sizes
    device = CudaDevice()
    try:
        note(copy_rates(device, sizes.copy_bytes, sizes.repeats))
        free, total = device.memory()
        note({'free_bytes': free, 'total_bytes': total, 'at_first': memory()})
        most = int(SHARE * min(total, memory()['available'] or total))
        note({'ceiling_bytes': ceiling(device, most)})
        file_bytes = min(sizes.file_bytes, most // 2)
        path = Path(order.folder) / 'page_cache'
        cached = memory()['cached']
        fill_page_cache(path, file_bytes)
        try:
            more = memory()['cached'] - cached
            note({'file_bytes': file_bytes, 'cached_bytes': more})
            note({'ceiling_with_page_cache_bytes': ceiling(device, most)})
            drop(path)
            note({'ceiling_after_drop_bytes': ceiling(device, most)})
        finally:
            path.unlink()
    finally:
        device.close()


def copy_rates(device: CudaDevice, byte_count: int, repeats: int) -> dict[str, float]:
    """Returns bytes per second: within the device's memory, read and written together, and from
    there to pinned memory of the host.
    """
    source, target = device.allocate(byte_count), device.allocate(byte_count)
    pinned = device.allocate_host(byte_count)
    try:
        device.copy(source, pinned.address, byte_count)
        within = median_seconds(device, lambda: device.copy(target, source, byte_count), repeats)
        out = median_seconds(
            device, lambda: device.copy(pinned.address, source, byte_count), repeats
        )
    finally:
        for address in (source, target, pinned.host_address):
            device.free(address)
    return {'copy_bytes_per_s': 2 * byte_count / within, 'to_host_bytes_per_s': byte_count / out}


def median_seconds(device: CudaDevice, work: Callable[[], None], repeats: int) -> float:
    """Returns the seconds on the device's clock, after one run that does not count."""
    device.time(work)
    return statistics.median(device.time(work) for _ in range(repeats))


def ceiling(device: CudaDevice, most: int) -> int:
    """Returns the bytes of the largest block up to `most` that can be allocated, to 1 / 2 ** TRIES
    of that.
    """
    if _can_allocate(device, most):
        return most
    low, high = 0, most
    for _ in range(TRIES):
        middle = (low + high) // 2
        if _can_allocate(device, middle):
            low = middle
        else:
            high = middle
    return low


def _can_allocate(device: CudaDevice, byte_count: int) -> bool:
    try:
        device.free(device.allocate(max(1, byte_count)))
    except OutOfMemory:
        return False
    return True


def fill_page_cache(path: Path, byte_count: int) -> None:
    """Makes a file without blocks on the disk, and reads it: its pages are cached like any
    other's.
    """
    with path.open('wb') as file:
        file.truncate(byte_count)
    file_number = os.open(path, os.O_RDONLY)
    try:
        while os.read(file_number, READ_BYTES):
            pass
    finally:
        os.close(file_number)
