# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels that are kept, in this process and in a folder: a GPU that is lent for minutes
is to run kernels, not to wait for a compiler.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from penguin_ros.kernels.ahead import SOURCES, code_of, compile_ahead
from penguin_ros.kernels.table import Compiled, Kernel, kernel_of

Compile = Callable[[Sequence[Kernel], int], list[Compiled]]


@dataclass
class KeptKernels:
    """Compiles with `compiler` what was not compiled before from the same sources; `folder` keeps
    it for other processes, None for nowhere.
    """

    folder: Path | None = None
    compiler: Compile = compile_ahead
    compiled: int = 0
    _known: dict[str, Compiled] = field(default_factory=dict)

    def __call__(self, kernels: Sequence[Kernel], target: int) -> list[Compiled]:
        """Returns the kernels, compiled for a target, in their order."""
        keys = [key_of(kernel, target) for kernel in kernels]
        for key in keys:
            if key not in self._known and (found := self._read(key)) is not None:
                self._known[key] = found
        left = [one for one, key in zip(kernels, keys, strict=True) if key not in self._known]
        for made in self.compiler(left, target) if left else []:
            self._known[key_of(made.kernel, target)] = made
            self._write(made)
            self.compiled += 1
        return [self._known[key] for key in keys]

    def _read(self, key: str) -> Compiled | None:
        path = self.folder / f'{key}.json' if self.folder else None
        if path is None or not path.is_file():
            return None
        plain: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        plain['kernel'] = kernel_of(plain['kernel'])
        plain['cubin'] = base64.b64decode(plain['cubin'])
        return Compiled(**{**plain, 'warnings': tuple(plain['warnings'])})

    def _write(self, made: Compiled) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = {**asdict(made), 'cubin': base64.b64encode(made.cubin).decode()}
        path = self.folder / f'{key_of(made.kernel, made.target)}.json'
        path.write_text(json.dumps(plain), encoding='utf-8')


def key_of(kernel: Kernel, target: int) -> str:
    """Returns what a kernel for a target is kept under: other sources give another."""
    words = ''.join(code_of(path) for path in sorted(SOURCES.glob('*.py')))
    plain = json.dumps([kernel.as_json(), target, words], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:32]
