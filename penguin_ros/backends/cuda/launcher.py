# SPDX-License-Identifier: Apache-2.0
"""Queues kernels by name, and what is queued again and again as graphs of CUDA.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress

from penguin_ros.backends.base.backend import BackendStats
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.modules import Modules
from penguin_ros.errors import BackendError, DeviceLost, OutOfMemory


class Launcher:
    """The kernels of a bundle on the stream of a device."""

    def __init__(self, device: CudaDevice, modules: Modules) -> None:
        self.device = device
        self._modules = modules

    def __call__(self, name: str, rows: int = 1, **given: int) -> None:
        """Queues a kernel for so many rows, with its arguments by name."""
        self._modules[name].launch(self.device.stream, rows, given)

    def in_order(self, name: str, rows: int, values: Sequence[int]) -> None:
        """Queues a kernel for so many rows, with its arguments in their order."""
        kernel = self._modules[name]
        names = [argument.name for argument in kernel.kernel.arguments]
        kernel.launch(self.device.stream, rows, dict(zip(names, values, strict=True)))


class PassGraphs:
    """Passes by key, each captured once and then launched whole; `failure` is why they are not, ''
    when they are.
    """

    def __init__(self, device: CudaDevice) -> None:
        self.captured = self.launched = self.plain = 0
        self.made_ms = 0.0
        self.failure = ''
        self._device = device
        self._graphs: dict[Hashable, int] = {}

    def prepare(self, key: Hashable, enqueue: Callable[[], None]) -> None:
        """Captures a pass, which ran before, so that all its kernels are loaded."""
        if self.failure or key in self._graphs:
            return
        start = time.perf_counter()
        try:
            self._graphs[key] = self._device.capture(enqueue)
            self.captured += 1
        except (DeviceLost, OutOfMemory):
            raise
        except BackendError as error:
            # Slower, but right: every pass is queued kernel by kernel from now on.
            self.failure = str(error)
            logging.getLogger(__name__).warning('CUDA graphs are not used: %s', error)
        self.made_ms += (time.perf_counter() - start) * 1e3

    def run(self, key: Hashable, enqueue: Callable[[], None]) -> None:
        """Queues a pass, as a graph where it is captured."""
        if (graph := self._graphs.get(key)) is not None:
            self._device.launch(graph)
            self.launched += 1
        else:
            enqueue()
            self.plain += 1

    def stats(self, modules: Modules) -> BackendStats:
        """Returns counts for users; on any thread."""
        counts = {
            'CUDA graphs captured': self.captured,
            'ms for making CUDA graphs': round(self.made_ms),
            'steps with CUDA graph': self.launched,
            'steps without CUDA graph': self.plain,
            'kernels from the bundle': modules.ready,
            'kernels compiled here': modules.compiled,
            'kernels compiled here before': modules.kept,
        }
        slow = f'CUDA graphs are not used: {self.failure}' if self.failure else ''
        return BackendStats(counts, slow)

    def close(self) -> None:
        """Frees all graphs; a device that is lost has none left."""
        with suppress(DeviceLost):
            for graph in self._graphs.values():
                self._device.free(graph)
        self._graphs.clear()
