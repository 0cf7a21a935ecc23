# SPDX-License-Identifier: Apache-2.0
"""Kernels that TensorRT for RTX compiles when an engine runs, and the cache that keeps them, for
the fake module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support.fake_gpu.engine import FakeContext, FakeEngine
from support.fake_gpu.memory import FakeGpu


class RuntimeCache:
    """Stands in for IRuntimeCache: the kernels that were compiled, by what they are for."""

    def __init__(self, version: str, gpu: FakeGpu) -> None:
        self._head = f'{version} {gpu.compute}\n'.encode()
        self.kernels: set[str] = set()

    def serialize(self) -> bytes:
        return self._head + '\n'.join(sorted(self.kernels)).encode()

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(self._head):
            return False
        self.kernels = set(blob[len(self._head) :].decode().split('\n')) - {''}
        return True


class RuntimeConfig:
    """Stands in for IRuntimeConfig."""

    def __init__(self, version: str, gpu: FakeGpu) -> None:
        self._version, self._gpu = version, gpu
        self.strategy: Any = None
        self.cache: RuntimeCache | None = None
        self.dynamic_shapes_kernel_specialization_strategy: Any = 'LAZY'

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self._version, self._gpu)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class RtxEngine(FakeEngine):
    """An engine that compiles kernels for each new set of sizes when it runs: the GPU's `compiled`
    names them, each with the strategy by which it was.
    """

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self._names.__version__, self.gpu)

    def create_execution_context(self, how: Any) -> FakeContext:
        if not isinstance(how, RuntimeConfig):
            return super().create_execution_context(how)
        super().create_execution_context(how.strategy)
        return RtxContext(self, config=how)


@dataclass
class RtxContext(FakeContext):
    """A context that takes kernels from the cache of its config."""

    config: RuntimeConfig | None = None

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert self.config is not None and self.config.cache is not None
        sizes = ', '.join(f'{name} {shape}' for name, shape in sorted(self.shapes.items()))
        kernel = f'profile {self.profile}: {sizes}'
        if kernel not in self.config.cache.kernels:
            strategy = self.config.dynamic_shapes_kernel_specialization_strategy
            self.engine.gpu.compiled.append((kernel, getattr(strategy, 'name', strategy)))
            self.config.cache.kernels.add(kernel)
        return super().execute_async_v3(stream_handle)
