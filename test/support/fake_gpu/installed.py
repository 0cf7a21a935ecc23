# SPDX-License-Identifier: Apache-2.0
"""Puts a fake TensorRT and a fake CUDA where imports find them; which version and which GPU can be
changed at any time.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from dataclasses import dataclass, field
from typing import Any

from support.fake_gpu.cuda_runtime import cuda_runtime
from support.fake_gpu.memory import FakeGpu
from support.fake_gpu.tensorrt_module import tensorrt_module


@dataclass
class Machine:
    """A machine with one GPU and one TensorRT. `refuses`, `built`: see tensorrt_module."""

    version: str = '10.16.2'
    gpu: FakeGpu = field(default_factory=FakeGpu)
    refuses: Any = lambda model: ''
    built: list[Any] = field(default_factory=list)

    def modules(self) -> dict[str, types.ModuleType]:
        """The modules by name, as they are imported."""
        return {
            'tensorrt': tensorrt_module(
                self.gpu, self.version, lambda model: self.refuses(model), self.built
            ),
            'cuda.bindings.runtime': cuda_runtime(self.gpu),
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


NAMES = ('tensorrt', 'cuda', 'cuda.bindings', 'cuda.bindings.runtime')
_delegates = {name: _Delegate(name) for name in NAMES}
_delegates['cuda'].module = types.SimpleNamespace(bindings=_delegates['cuda.bindings'])  # type: ignore[assignment]
_delegates['cuda.bindings'].module = types.SimpleNamespace(
    runtime=_delegates['cuda.bindings.runtime']
)  # type: ignore[assignment]


def use(machine: Machine) -> None:
    """Makes TensorRT and CUDA those of this machine from now on."""
    for name, module in machine.modules().items():
        _delegates[name].module = module
    sys.modules.update(_delegates)


def remove() -> None:
    """Makes imports of TensorRT and CUDA find what is really installed, if anything."""
    for name in NAMES:
        if sys.modules.get(name) is _delegates[name]:
            del sys.modules[name]
