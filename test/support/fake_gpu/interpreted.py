# SPDX-License-Identifier: Apache-2.0
"""A FakeGpu whose kernels run in Triton's interpreter: its memory is the arena of a child process,
in which the kernels' own sources are executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.fake_gpu.memory import Arena, FakeGpu, GpuFault

from penguin_ros.kernels.interpreter import Interpreter, KernelFailed
from penguin_ros.kernels.table import Kernel


class InterpretingExecutor:
    """Runs launches in the interpreter; `runs` counts them by kernel."""

    def __init__(self, interpreter: Interpreter, base: int) -> None:
        self.runs: dict[str, int] = {}
        self._interpreter = interpreter
        self._base = base

    def __call__(
        self,
        gpu: FakeGpu,
        kernel: Kernel | None,
        grid: tuple[int, ...],
        values: tuple[int | float, ...],
    ) -> None:
        assert kernel is not None
        self.runs[kernel.name] = self.runs.get(kernel.name, 0) + 1
        given = [
            int(value) - self._base if argument.is_pointer else value
            for argument, value in zip(kernel.arguments, values, strict=True)
        ]
        try:
            self._interpreter.launch(kernel, grid, given)
        except KernelFailed as error:
            raise GpuFault(str(error)) from error


def short_passes(patch: pytest.MonkeyPatch) -> None:
    """Makes passes of at most 64 rows: the interpreter takes a millisecond for a program. A Machine
    must be in use.
    """
    from penguin_ros.backends.cuda import decoder, llm_passes

    patch.setattr(llm_passes, 'ROW_COUNTS', (16, 64))
    patch.setattr(llm_passes, 'WANTED_COUNTS', (0, 1, 16))
    for module in (llm_passes, decoder):
        patch.setattr(module, 'MAX_ROWS', 64)
        patch.setattr(module, 'MAX_WANTED', 16)


@contextmanager
def interpreting_gpu(arena_bytes: int) -> Iterator[FakeGpu]:
    """Gives a GPU with so much memory; the child process ends with the block."""
    with Interpreter(arena_bytes) as interpreter:
        arena = Arena(interpreter.memory)
        gpu = FakeGpu(arena_bytes, arena)
        gpu.executor = InterpretingExecutor(interpreter, arena.base)
        yield gpu
