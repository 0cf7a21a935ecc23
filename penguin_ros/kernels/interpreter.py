# SPDX-License-Identifier: Apache-2.0
"""Runs kernels on the CPU: a child process has Triton's interpreter, and shares a piece of memory,
the arena, in which all buffers lie.
"""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.kernels.library import environment
from penguin_ros.kernels.table import Kernel

ALIGNMENT = 256
"""Bytes; that of cudaMalloc."""


class KernelFailed(RuntimeError):
    """A kernel raised an error in the interpreter."""


class Interpreter:
    """An arena of `arena_bytes` and a process that runs kernels in it; a context that ends it. It
    needs Triton: BuildRefused where that is missing.
    """

    def __init__(self, arena_bytes: int) -> None:
        self._file = tempfile.TemporaryFile(prefix='penguin-kernels-')
        self._file.truncate(arena_bytes)
        self._map = mmap.mmap(self._file.fileno(), arena_bytes)
        self.memory: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self._end = 0
        descriptor = self._file.fileno()
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'penguin_ros.kernels.interpreter_process', str(descriptor)],
            env=environment(is_interpreted=True),
            pass_fds=(descriptor,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def place(self, values: NDArray[Any]) -> int:
        """Copies an array into the arena; returns its offset, behind those placed before."""
        offset = -(-self._end // ALIGNMENT) * ALIGNMENT
        self._end = offset + values.nbytes
        if self._end > len(self.memory):
            raise MemoryError(f'the arena has {len(self.memory)} bytes')
        self.view(offset, values.dtype, values.shape)[...] = values
        return offset

    def clear(self) -> None:
        """Gives all places to others."""
        self._end = 0

    def view(self, offset: int, dtype: Any, shape: Sequence[int]) -> NDArray[Any]:
        """Returns an array that lies in the arena."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.asarray(self.memory[offset : offset + size].view(dtype).reshape(shape))

    def launch(self, kernel: Kernel, grid: Sequence[int], values: Sequence[int | float]) -> None:
        """Runs all programs of a grid; a pointer's value is an offset in the arena. KernelFailed
        when one raises.
        """
        job = {'kernel': kernel.as_json(), 'grid': list(grid), 'values': list(values)}
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + '\n')
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ''
        if not answer:
            raise KernelFailed(f'{kernel.name}: the interpreter ended: {self._process.wait()}')
        if (error := json.loads(answer)['error']) is not None:
            raise KernelFailed(f'{kernel.name}: {error}')

    def close(self) -> None:
        """Ends the process. The arena lives as long as arrays that lie in it."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
            assert self._process.stdout is not None
            self._process.wait(10)
            self._process.stdout.close()
            self._file.close()
