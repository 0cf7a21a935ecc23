# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels in the driver: loaded from machine code where there is some for this GPU, else
from PTX, which the driver's own compiler turns into machine code once and a file keeps.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuda.bindings import driver

from penguin_ros.atomic_file import atomic_file
from penguin_ros.backends.cuda.faults import (
    INVALID_PTX,
    NO_COMPILER,
    NO_MODULE_FOR_GPU,
    PTX_TOO_NEW,
    fault,
)
from penguin_ros.backends.cuda.kernel_set import KernelSet, cuda_of_ptx
from penguin_ros.backends.cuda.versions import text
from penguin_ros.errors import BackendError, BackendUnavailable, BundleCorrupt, SystemRefusal
from penguin_ros.kernels.table import HIDDEN_POINTERS, Kernel

FREE_SHARED_BYTES = 48 * 1024
"""Shared memory that a kernel may have without asking."""

LOG_BYTES = 8192
REFUSALS = (NO_MODULE_FOR_GPU, INVALID_PTX, PTX_TOO_NEW, NO_COMPILER)
TYPES = {'*': ctypes.c_void_p, 'i32': ctypes.c_int32, 'i64': ctypes.c_int64, 'fp32': ctypes.c_float}
"""How arguments are handed to the driver; '*' is any pointer."""


@dataclass(frozen=True, eq=False)
class LoadedKernel:
    """A kernel that can be launched; `function` is the driver's handle."""

    kernel: Kernel
    function: Any
    shared_bytes: int

    def launch(self, stream: int, rows: int, given: Mapping[str, int | float]) -> None:
        """Queues the kernel on a stream for a pass over `rows` rows, with all its arguments by
        name; while that is captured, into the graph.
        """
        kinds = self.kernel.arguments
        if given.keys() != {each.name for each in kinds}:
            raise BackendError(
                f'the kernel {self.kernel.name} was launched with {", ".join(given)}',
                f'it takes {", ".join(each.name for each in kinds)}',
                'Build the bundle again; if that does not help, this is a defect: please report it',
            )
        values = [given[each.name] for each in kinds]
        types = tuple(TYPES['*' if each.is_pointer else each.kind] for each in kinds)
        hidden = HIDDEN_POINTERS
        call(
            'cuLaunchKernel',
            driver.cuLaunchKernel(
                self.function,
                *self.kernel.grid.programs(rows),
                *(32 * self.kernel.warps, 1, 1),
                self.shared_bytes,
                driver.CUstream(stream),
                ((*values, *(0,) * hidden), (*types, *(ctypes.c_void_p,) * hidden)),
                0,
            ),
        )


class Modules:
    """The kernels of a bundle on one GPU of the compute capability `target`, ten times as large.
    Machine code that is compiled here is kept in the folder `cache`, None for nowhere. `compiled`
    counts kernels that were compiled from PTX just now, `kept` those of the folder, `ready` those
    of the bundle.

    The thread that opened the device opens, uses and closes it.
    """

    def __init__(self, kernels: KernelSet, target: int, cache: Path | None) -> None:
        self.compiled = self.kept = self.ready = 0
        self._kernels = kernels
        self._target = target
        self._cache = cache
        self._loaded: dict[str, LoadedKernel] = {}
        self._modules: list[Any] = []
        (version,) = call('cuDriverGetVersion', driver.cuDriverGetVersion())
        self._driver = int(version)

    def __getitem__(self, name: str) -> LoadedKernel:
        """Returns a kernel, which is loaded when it is first asked for.

        BackendUnavailable when this GPU or its driver cannot run it, BundleOutdated when the bundle
        has none of that name, BundleCorrupt when it is not what its name says.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> LoadedKernel:
        image = self._kernels.image(name, self._target)
        ptx, code = self._kernels.code(image, self._target)
        if code:
            self.ready += 1
        else:
            code = self._from_ptx(name, ptx)
        result = driver.cuModuleLoadData(code)
        if int(result[0]) in REFUSALS:
            raise self._refused(name, ptx, int(result[0]), '')
        (module,) = call('cuModuleLoadData', result)
        self._modules.append(module)
        found = driver.cuModuleGetFunction(module, image.symbol.encode())
        if found[0] == driver.CUresult.CUDA_ERROR_NOT_FOUND:
            raise BundleCorrupt(
                f'the kernel {name} cannot be used',
                f'its module has no {image.symbol}',
                f'Type: penguin build {self._kernels.folder.parent} --backend cuda',
            )
        (function,) = call('cuModuleGetFunction', found)
        if image.shared_bytes > FREE_SHARED_BYTES:
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            allowed = driver.cuFuncSetAttribute(function, attribute, image.shared_bytes)
            call('cuFuncSetAttribute', allowed)
        return LoadedKernel(self._kernels.entry(name).kernel, function, image.shared_bytes)

    def load_all(self) -> None:
        """Loads every kernel of the bundle, so that nothing is compiled later."""
        for name in self._kernels.entries:
            self[name]

    def close(self) -> None:
        """Unloads all; harmless when called again."""
        for module in self._modules:
            driver.cuModuleUnload(module)
        self._modules.clear()

    def _from_ptx(self, name: str, ptx: bytes) -> bytes:
        """Returns machine code for this GPU, compiled now or earlier."""
        key = f'{self._target} {self._driver}\n'.encode() + ptx
        path = self._cache / f'{hashlib.sha256(key).hexdigest()}.cubin' if self._cache else None
        if path is not None and (found := _kept(path)):
            self.kept += 1
            return found
        code = self._compile(name, ptx)
        self.compiled += 1
        if path is not None:
            _keep(path, code)
        return code

    def _compile(self, name: str, ptx: bytes) -> bytes:
        said = bytearray(LOG_BYTES)
        options = driver.CUjit_option
        names = [options.CU_JIT_ERROR_LOG_BUFFER, options.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
        made = driver.cuLinkCreate(2, names, [said, LOG_BYTES])
        if int(made[0]) in REFUSALS:
            raise self._refused(name, ptx, int(made[0]), '')
        (state,) = call('cuLinkCreate', made)
        try:
            kind, ended = driver.CUjitInputType.CU_JIT_INPUT_PTX, ptx + b'\0'
            done = driver.cuLinkAddData(state, kind, ended, len(ended), name.encode(), 0, [], [])
            if not int(done[0]):
                done = driver.cuLinkComplete(state)
            if int(done[0]) in REFUSALS:
                words = said.partition(b'\0')[0].decode(errors='replace')
                raise self._refused(name, ptx, int(done[0]), words)
            address, size = call('cuLinkComplete', done)
            return ctypes.string_at(int(address), int(size))
        finally:
            driver.cuLinkDestroy(state)

    def _refused(self, name: str, ptx: bytes, code: int, said: str) -> BackendUnavailable:
        folder = self._kernels.folder.parent
        build = f'penguin build {folder} --backend cuda --target sm_{self._target}'
        what = f'the kernel {name} cannot run here'
        if code == PTX_TOO_NEW:
            return BackendUnavailable(
                what,
                f'its PTX was made for CUDA {cuda_of_ptx(ptx) or "of a later version"}, and the '
                f'driver here runs {text(self._driver)} at most',
                f'Add machine code for this GPU, where it was built: {build}; or update the driver',
            )
        if code == NO_COMPILER:
            return BackendUnavailable(
                what,
                'the bundle has no machine code for this GPU, and the driver brings no compiler '
                '(libnvidia-ptxjitcompiler is missing)',
                f'Add machine code where it was built: {build}; in a container add the capability '
                'compute',
            )
        words = said.strip().partition('\n')[0]
        return BackendUnavailable(
            what,
            f'it is not for compute capability {self._target / 10:.1f}'
            f'{f" ({words})" if words else ""}',
            f'Add machine code for it, where it was built: {build}',
        )


def call(name: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns what a function of the driver returned, without the code in front; a named error when
    that is one, see `faults`.
    """
    code, *values = result
    if code != driver.CUresult.CUDA_SUCCESS:
        _, said = driver.cuGetErrorString(code)
        words = said.decode() if isinstance(said, bytes) else str(said)
        raise fault(name, int(code), words)
    return tuple(values)


def _kept(path: Path) -> bytes:
    """Returns what a file keeps; empty when there is none or it is damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return b''
    digest, code = stored[:32], stored[32:]
    return code if digest == hashlib.sha256(code).digest() else b''


def _keep(path: Path, code: bytes) -> None:
    """Writes a file at once, since another process may do the same; without it the next start only
    takes longer.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, is_text=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
    except (OSError, SystemRefusal) as error:
        logging.getLogger(__name__).info('%s is not kept: %s', path, error)
