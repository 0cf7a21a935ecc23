# SPDX-License-Identifier: Apache-2.0
"""Puts a fake TensorRT and a fake CUDA where imports find them; which version and which GPU can be
changed at any time.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.fake_gpu.cuda_driver import cuda_driver
from support.fake_gpu.cuda_runtime import cuda_runtime
from support.fake_gpu.memory import FakeGpu
from support.fake_gpu.tensorrt_module import tensorrt_module

from penguin_ros.backends.tensorrt.library import MODULES, PLAIN, Library


@dataclass
class Machine:
    """A machine with one GPU and one TensorRT, or with `library` 'tensorrt_rtx' one for RTX.
    `refuses`, `built`: see tensorrt_module.
    """

    version: str = '10.16.2'
    gpu: FakeGpu = field(default_factory=FakeGpu)
    refuses: Any = lambda model: ''
    built: list[Any] = field(default_factory=list)
    library: str = PLAIN

    def modules(self) -> dict[str, types.ModuleType]:
        """The modules by the names of their stand-ins."""
        library = Library(self.library, self.version)
        return {
            'tensorrt': tensorrt_module(
                self.gpu, library, lambda model: self.refuses(model), self.built
            ),
            'cuda.bindings.runtime': cuda_runtime(self.gpu),
            'cuda.bindings.driver': cuda_driver(self.gpu),
        }


class _Delegate(types.ModuleType):
    """A module with the attributes of another, which can be exchanged: code that imported it sees
    the new one.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.module: types.ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


NAMES = ('tensorrt', 'cuda', 'cuda.bindings', 'cuda.bindings.runtime', 'cuda.bindings.driver')
_delegates = {name: _Delegate(name) for name in NAMES}
_delegates['cuda'].module = types.SimpleNamespace(bindings=_delegates['cuda.bindings'])  # type: ignore[assignment]
_delegates['cuda.bindings'].module = types.SimpleNamespace(
    runtime=_delegates['cuda.bindings.runtime'], driver=_delegates['cuda.bindings.driver']
)  # type: ignore[assignment]


def use(machine: Machine) -> None:
    """Makes TensorRT and CUDA those of this machine from now on. One stand-in serves both
    libraries, since code that has imported one keeps it.
    """
    for name, module in machine.modules().items():
        _delegates[name].module = module
    sys.modules.update(_delegates)
    for name in MODULES:
        is_installed = name == machine.library
        sys.modules[name] = _delegates['tensorrt'] if is_installed else None  # type: ignore[assignment]


@contextmanager
def used(machine: Machine) -> Iterator[None]:
    """Makes TensorRT and CUDA those of this machine in the block, and what they were before behind
    it: a backend on another machine may be open all the while, and is left alone.
    """
    names = (*NAMES, *MODULES)
    modules = {name: each.module for name, each in _delegates.items()}
    found = {name: sys.modules[name] for name in names if name in sys.modules}
    use(machine)
    try:
        yield
    finally:
        for name, module in modules.items():
            _delegates[name].module = module
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(found)


def remove() -> None:
    """Makes imports of TensorRT and CUDA find what is really installed, if anything."""
    for name in (*NAMES, *MODULES):
        if name in sys.modules and sys.modules[name] in (None, *_delegates.values()):
            del sys.modules[name]
