# SPDX-License-Identifier: Apache-2.0
"""The kernels that TensorRT for RTX compiles when an engine runs, kept in a file beside the engine,
so that the next process need not compile them again. Plain TensorRT has them in the engine.

Importing this file needs tensorrt.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

from penguin_ros.backends.tensorrt.bindings import trt
from penguin_ros.backends.tensorrt.log import failed

MAX_BYTES = 1 << 30
_DIGEST_BYTES = 32
_NONE = 'this library compiles no kernels when an engine runs'


class KernelFile:
    """Kernels in the file `path`; `key` names library and GPU, and those of another key, or a file
    that is damaged, count as none. Where the file cannot be written there are just none the next
    time.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._written = b''

    def read(self) -> bytes:
        """Returns what was stored; empty when there is nothing that can be used."""
        try:
            if not _DIGEST_BYTES < self._path.stat().st_size <= MAX_BYTES:
                return b''
            stored = self._path.read_bytes()
        except OSError:
            return b''
        digest, kernels = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if digest != self._digest(kernels):
            logging.getLogger(__name__).info('%s is of another library or damaged', self._path)
            return b''
        self._written = digest
        return kernels

    def write(self, kernels: bytes) -> None:
        """Replaces the file at once, so that nobody reads a part; nothing to do when it holds these
        kernels already.
        """
        digest = self._digest(kernels)
        if not kernels or digest == self._written or len(kernels) >= MAX_BYTES:
            return
        draft = None
        try:
            with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
                draft = file.name
                file.write(digest + kernels)
            os.replace(draft, self._path)
            self._written = digest
        except OSError as error:
            logging.getLogger(__name__).info('%s is not kept: %s', self._path, error)
            if draft is not None:
                Path(draft).unlink(missing_ok=True)

    def _digest(self, kernels: bytes) -> bytes:
        return hashlib.sha256(f'{self._key}\n'.encode() + kernels).digest()


class KernelCache:
    """What the contexts of one engine are made with so that they share kernels: those of `file`,
    and those that are compiled from then on. BackendError where the library compiles none.

    Kernels for the sizes at hand are compiled beside while general ones run (`plain`), except where
    a run is captured (`for_capture`): a CUDA graph would keep the general ones, so that run waits.
    """

    def __init__(self, engine: trt.ICudaEngine, file: KernelFile) -> None:
        if not hasattr(engine, 'create_runtime_config'):
            raise failed(_NONE)
        plain, for_capture = engine.create_runtime_config(), engine.create_runtime_config()
        if not hasattr(plain, 'create_runtime_cache'):
            raise failed(_NONE)
        cache = plain.create_runtime_cache()
        stored = file.read()
        if stored and not cache.deserialize(stored):
            logging.getLogger(__name__).info('TensorRT does not take the kernels that were kept')
        for config in (plain, for_capture):
            config.set_execution_context_allocation_strategy(
                trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
            if not hasattr(config, 'set_runtime_cache') or not config.set_runtime_cache(cache):
                raise failed('a context cannot be made with kernels that are kept')
        if hasattr(trt, 'DynamicShapesKernelSpecializationStrategy'):
            eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            if hasattr(for_capture, 'dynamic_shapes_kernel_specialization_strategy'):
                for_capture.dynamic_shapes_kernel_specialization_strategy = eager
        self.plain, self.for_capture = plain, for_capture
        self._cache = cache
        self._file = file

    def store(self) -> None:
        """Writes what was compiled so far."""
        content = self._cache.serialize()
        if content is not None:
            self._file.write(bytes(content))
