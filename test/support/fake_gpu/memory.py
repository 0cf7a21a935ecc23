# SPDX-License-Identifier: Apache-2.0
"""Memory and one stream of a GPU that does not exist, in the memory of this process. They are
strict about what a GPU would not forgive.

New memory and freed memory are full of NaN. An address outside every block, or a size past the end
of one, fails. What is queued runs when the stream is waited for and not before, so whoever reads or
overwrites too early gets wrong numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from support.page_cache import cached_bytes

from penguin_ros.kernels.table import Kernel

NAN_BYTE = 0xFF
ILLEGAL_ADDRESS = 700
ALIGNMENT = 256


class GpuFault(Exception):
    """What a real GPU would end the process or its context for."""


@dataclass
class Block:
    """Allocated bytes; `keep` owns them."""

    keep: Any
    address: int
    size: int
    is_host: bool


@dataclass
class Capture:
    """What was queued while the stream was captured."""

    operations: list[Callable[[], None]] = field(default_factory=list)


class Arena:
    """Memory that another process sees too, given out in pieces."""

    def __init__(self, memory: np.ndarray) -> None:
        self.base = memory.ctypes.data
        self._memory = memory
        self._free = [(0, len(memory))]

    def take(self, size: int) -> int:
        """Returns the address of a piece; MemoryError when none is large enough."""
        size = -(-size // ALIGNMENT) * ALIGNMENT
        for index, (start, length) in enumerate(self._free):
            if length >= size:
                self._free[index] = (start + size, length - size)
                return self.base + start
        raise MemoryError(f'{size} bytes of an arena of {len(self._memory)}')

    def give_back(self, address: int, size: int) -> None:
        """Takes a piece back."""
        self._free.append((address - self.base, -(-size // ALIGNMENT) * ALIGNMENT))


class KernelPageCache:
    """What the kernel of this machine really has of the files below a folder, none of which gives
    way.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def in_the_way_bytes(self) -> int:
        """Returns what an allocation cannot have."""
        return sum(cached_bytes(path) for path in self._folder.rglob('*') if path.is_file())


@dataclass
class PageCache:
    """What the system caches of files, by their names: `gives_way` when memory is allocated; what
    does not can be dropped, unless `is_stuck`.
    """

    gives_way: bool = True
    is_stuck: bool = False
    files: dict[int, int] = field(default_factory=dict)

    @property
    def in_the_way_bytes(self) -> int:
        """Returns what an allocation cannot have."""
        return 0 if self.gives_way else sum(self.files.values())

    def note_read(self, file: int, byte_count: int) -> None:
        """Notes that a file was read."""
        self.files[file] = self.files.get(file, 0) + byte_count

    def drop(self, file: int) -> None:
        """Forgets a file."""
        if not self.is_stuck:
            self.files.pop(file, None)


Executor = Callable[['FakeGpu', 'Kernel | None', tuple[int, ...], tuple['int | float', ...]], None]
"""Computes a kernel: which, its grid, its arguments."""


def refuse_to_run(gpu: FakeGpu, kernel: Kernel | None, grid: Any, values: Any) -> None:
    """Stands where nobody said how kernels are computed."""
    raise AssertionError('this GPU computes no kernels')


class FakeGpu:
    """Blocks of memory and a queue: `total_bytes` of memory; `can_capture` says whether streams can
    be captured; `driver` and `runtime` are CUDA versions, `driver` 0 where there is none.

    `clock` is its time in seconds, by which what runs takes its bytes at `bandwidth` bytes per
    second; weights of the formats in `unpacked` are written and read again as float16.
    `nominal_bytes` is what it says it has, `sm_count` the number of multiprocessors; `refused`
    counts allocations that failed, `flags` are those that were set.

    `executor` computes what kernels do. The kernel number `fails_at`, counted from 1, fails with
    the code `fails_with`; `lost` is the code that all calls return from then on. `planted` are
    codes that the next calls of functions return, by their names, instead of doing anything.
    Without `has_compiler` the driver reads no PTX; when it `is_taken`, another process has it
    alone.
    """

    def __init__(self, total_bytes: int = 1 << 34, arena: Arena | None = None) -> None:
        self.arena = arena
        self.total_bytes, self.can_capture, self.is_present = total_bytes, True, True
        self.name, self.compute, self.is_integrated = 'Fake Orin', (8, 7), True
        self.driver, self.runtime = 12060, 12060
        self.bandwidth, self.clock = 68e9, 0.0
        self.unpacked: tuple[str, ...] = ()
        self.page_cache: PageCache | KernelPageCache = PageCache()
        self.sm_count = 8
        self.nominal_bytes = total_bytes
        self.flags: list[int] = []
        self.refused = 0
        self.blocks: dict[int, Block] = {}
        self.queue: list[Callable[[], None]] = []
        self.capture: Capture | None = None
        self.graphs: dict[int, Capture] = {}
        self.launches = 0
        self.compiled: list[tuple[str, str]] = []
        self._next_graph = 1 << 60
        self.has_compiler, self.is_taken, self.lost = True, False, 0
        self.kernels_run = 0
        self.fails_at, self.fails_with = 0, 0
        self.planted: dict[str, int] = {}
        self.executor: Executor = refuse_to_run

    @property
    def used_bytes(self) -> int:
        """Returns the bytes of all blocks."""
        return sum(block.size for block in self.blocks.values())

    def allocate(self, size: int, is_host: bool = False) -> int | None:
        """Returns the address of new memory full of NaN; None when there is no room."""
        taken = self.used_bytes + self.page_cache.in_the_way_bytes
        if taken + size > self.total_bytes:
            self.refused += 1
            return None
        if self.arena is not None:
            keep: Any = self.arena
            address = self.arena.take(size)
        else:
            keep = ctypes.create_string_buffer(size + ALIGNMENT)
            address = -(-ctypes.addressof(keep) // ALIGNMENT) * ALIGNMENT
        self.blocks[address] = Block(keep, address, size, is_host)
        self.write(address, np.full(size, NAN_BYTE, np.uint8))
        return address

    def free(self, address: int) -> None:
        """Frees a block. GpuFault for an address that was not allocated, or when work that may use
        it is still queued.
        """
        self.synchronize()
        if address not in self.blocks:
            raise GpuFault(f'{address:#x} is not allocated')
        size = self.blocks[address].size
        self.write(address, np.full(size, NAN_BYTE, np.uint8))
        del self.blocks[address]
        if self.arena is not None:
            self.arena.give_back(address, size)

    def view(self, address: int, size: int) -> np.ndarray:
        """Returns the bytes of a block."""
        for block in self.blocks.values():
            if block.address <= address and address + size <= block.address + block.size:
                return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        raise GpuFault(f'{size} bytes at {address:#x} lie in no block')

    def room(self, address: int) -> int:
        """Returns how many bytes lie from an address to the end of its block."""
        for block in self.blocks.values():
            if block.address <= address < block.address + block.size:
                return block.address + block.size - address
        raise GpuFault(f'{address:#x} lies in no block')

    def write(self, address: int, values: np.ndarray) -> None:
        """Writes at once."""
        self.view(address, values.nbytes)[:] = (
            np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        )

    def enqueue(self, operation: Callable[[], None], byte_count: int = 0) -> None:
        """Puts work that moves so many bytes at the end of the queue, or into the graph that is
        being captured.
        """

        def run() -> None:
            operation()
            self.clock += byte_count / self.bandwidth

        timed = run if byte_count else operation
        (self.capture.operations if self.capture is not None else self.queue).append(timed)

    def synchronize(self) -> None:
        """Runs what is queued."""
        if self.capture is not None:
            raise GpuFault('waiting for a stream that is being captured')
        try:
            while self.queue:
                self.queue.pop(0)()
        except GpuFault:
            self.queue.clear()
            raise

    def start_kernel(
        self, kernel: Kernel | None, grid: tuple[int, ...], values: tuple[int | float, ...]
    ) -> None:
        """Queues a kernel; what it does wrong ends all that this process may do with the GPU."""

        def run() -> None:
            self.kernels_run += 1
            if self.kernels_run == self.fails_at:
                self.lost = self.fails_with
            if self.lost:
                raise GpuFault('a kernel failed')
            try:
                self.executor(self, kernel, grid, values)
            except GpuFault:
                self.lost = ILLEGAL_ADDRESS
                raise

        self.enqueue(run)

    def end_capture(self) -> int:
        """Keeps the captured operations under a number."""
        if self.capture is None:
            raise GpuFault('no capture')
        self._next_graph += 1
        self.graphs[self._next_graph], self.capture = self.capture, None
        return self._next_graph

    def launch(self, graph: int) -> None:
        """Queues a captured graph: the operations with the shapes and addresses that they had
        then.
        """
        self.launches += 1
        for operation in self.graphs[graph].operations:
            self.enqueue(operation)
