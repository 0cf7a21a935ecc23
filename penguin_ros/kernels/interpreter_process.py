# SPDX-License-Identifier: Apache-2.0
"""A process that interprets kernels: one JSON line in names a kernel, a grid and the values of its
arguments, one JSON line out says whether it ran. Its argument is the descriptor of the arena.
"""

from __future__ import annotations

import importlib
import json
import mmap
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np

from penguin_ros.kernels.table import Argument, kernel_of


def make_calls_cheap() -> set[str]:
    """Keeps the interpreter from preparing the language anew for each function that a kernel calls:
    once for each file with functions is enough. Returns the files for which it has been done, to be
    emptied before each launch.
    """
    from triton.runtime import interpreter

    prepared: set[str] = set()

    def called(self: Any, *values: Any, **named: Any) -> Any:
        if self.fn.__module__ not in prepared:
            interpreter._patch_lang(self.fn)
            prepared.add(self.fn.__module__)
        return self.rewrite()(*values, **named)

    interpreter.InterpretedFunction.__call__ = called
    return prepared


def make_bfloat16_multiply() -> None:
    """Lets tensor cores of the interpreter multiply bfloat16 as numbers; it takes their bits for
    integers.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    original = interpreter.InterpreterBuilder.create_dot

    def multiplied(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        if a.dtype.scalar == tl.bfloat16:
            a, b = (self.create_fp_to_fp(each, tl.float32, None) for each in (a, b))
        return original(self, a, b, *rest)

    interpreter.InterpreterBuilder.create_dot = multiplied


def make_integers_bfloat16() -> None:
    """Lets integers become the bfloat16 that they are; the interpreter takes them for its bits."""
    import triton.language as tl
    from triton.runtime import interpreter

    original = interpreter.InterpreterBuilder.create_si_to_fp

    def converted(self: Any, value: Any, kind: Any) -> Any:
        if kind.scalar != tl.bfloat16:
            return original(self, value, kind)
        wide = original(self, value, tl.float32)
        return self.create_fp_to_fp(wide, kind, None)

    interpreter.InterpreterBuilder.create_si_to_fp = converted


def run(job: Mapping[str, Any], base: int) -> None:
    """Runs all programs of a grid one after another."""
    kernel = kernel_of(job['kernel'])
    module, function = kernel.source.split('.')
    source = getattr(importlib.import_module(f'penguin_ros.kernels.sources.{module}'), function)
    values = {
        argument.name: _given(argument, value, base)
        for argument, value in zip(kernel.arguments, job['values'], strict=True)
    }
    with np.errstate(all='ignore'):
        source[tuple(job['grid'])](**values, **kernel.constants)


def _given(argument: Argument, value: int | float, base: int) -> Any:
    """Returns a value as the interpreter holds it."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    if argument.is_pointer:
        kind = tl.str_to_ty(argument.kind, None)
        held = np.array([base + int(value)], np.uint64)
    else:
        kind = tl.str_to_ty(argument.kind, None)
        held = np.array([value], {'i32': np.int32, 'i64': np.int64}.get(argument.kind, np.float32))
    return tl.tensor(TensorHandle(held, kind), kind)


def main() -> None:
    """Serves until its input ends."""
    arena = mmap.mmap(int(sys.argv[1]), 0)
    base = np.frombuffer(arena, np.uint8).ctypes.data
    prepared = make_calls_cheap()
    make_bfloat16_multiply()
    make_integers_bfloat16()
    for line in sys.stdin:
        error = None
        prepared.clear()
        try:
            run(json.loads(line), base)
        except Exception as raised:  # it goes to who asked
            error = ''.join(traceback.format_exception(raised))[-4000:]
        print(json.dumps({'error': error}), flush=True)


if __name__ == '__main__':
    main()
