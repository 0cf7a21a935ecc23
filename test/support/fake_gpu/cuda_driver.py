# SPDX-License-Identifier: Apache-2.0
"""`cuda.bindings.driver` over a FakeGpu: the functions that the code uses, with the real ones'
parameters and results. It refuses what the real one would refuse, and also what the real one would
run wrongly: arguments of other types, addresses that lie in no block.
"""

from __future__ import annotations

import ctypes
import enum
import types
from collections.abc import Callable
from typing import Any

from support.fake_gpu.cuda_runtime import STREAM
from support.fake_gpu.kernel_images import Loaded, assembled, read_code, read_ptx
from support.fake_gpu.memory import FakeGpu, GpuFault

from penguin_ros.kernels.table import HIDDEN_POINTERS

Result = tuple[Any, ...]
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_THREADS = 1024
FREE_SHARED, MAX_SHARED = 48 * 1024, {80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 110: 227, 120: 99}
"""Bytes of shared memory that a kernel may have without asking; KiB that it may ask for."""

CTYPES = {
    'pointer': ctypes.c_void_p,
    'i32': ctypes.c_int32,
    'i64': ctypes.c_int64,
    'fp32': ctypes.c_float,
}
FIRST_HANDLE = 1 << 40


class CUresult(enum.IntEnum):
    """The names and values of CUDA."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_IMAGE = 200
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209
    CUDA_ERROR_INVALID_PTX = 218
    CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_LAUNCH_FAILED = 719


class CUjit_option(enum.IntEnum):
    """The names and values of CUDA."""

    CU_JIT_ERROR_LOG_BUFFER = 5
    CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6


class CUjitInputType(enum.IntEnum):
    """The names and values of CUDA."""

    CU_JIT_INPUT_PTX = 1


class CUfunction_attribute(enum.IntEnum):
    """The names and values of CUDA."""

    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8


class CUstream(int):
    """A handle."""


OK = CUresult.CUDA_SUCCESS
PTX_OF_DRIVER = {6: 85, 7: 86, 8: 87, 9: 88}
"""The newest PTX of a driver for CUDA 12, by the minor version; below 6 it is 80 more than that."""


class Refused(Exception):
    """Ends a call with this code."""

    def __init__(self, code: CUresult) -> None:
        super().__init__(code.name)
        self.code = code


class _Driver:
    """The modules and functions of one process."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        self.modules: dict[int, Loaded] = {}
        self.functions: dict[int, int] = {}
        self.shared: dict[int, int] = {}
        self.links: dict[int, Any] = {}
        self._next = FIRST_HANDLE

    def handle(self) -> int:
        self._next += 16
        return self._next

    @property
    def target(self) -> int:
        major, minor = self.gpu.compute
        return major * 10 + minor

    def version(self) -> Result:
        return OK, self.gpu.driver

    def load(self, image: bytes) -> Result:
        try:
            loaded = read_code(bytes(image))
        except ValueError:
            raise Refused(CUresult.CUDA_ERROR_INVALID_IMAGE) from None
        if loaded.target != self.target:
            raise Refused(CUresult.CUDA_ERROR_NO_BINARY_FOR_GPU)
        self.modules[handle := self.handle()] = loaded
        return OK, handle

    def unload(self, module: int) -> Result:
        if self.modules.pop(module, None) is None:
            raise Refused(CUresult.CUDA_ERROR_INVALID_HANDLE)
        return (OK,)

    def function(self, module: int, name: bytes) -> Result:
        if self.modules[module].entry != name.decode():
            raise Refused(CUresult.CUDA_ERROR_NOT_FOUND)
        self.functions[handle := self.handle()] = module
        return OK, handle

    def allow(self, function: int, attribute: int, value: int) -> Result:
        if value > MAX_SHARED[self.target] * 1024:
            raise Refused(CUresult.CUDA_ERROR_INVALID_VALUE)
        self.shared[function] = value
        return (OK,)

    def link(self, count: int, options: list[Any], values: list[Any]) -> Result:
        if not self.gpu.has_compiler:
            raise Refused(CUresult.CUDA_ERROR_JIT_COMPILER_NOT_FOUND)
        assert count == len(options) == len(values)
        self.links[handle := self.handle()] = dict(zip(options, values, strict=True))
        return OK, handle

    def add(
        self, state: int, kind: int, data: bytes, size: int, name: bytes, count: int, *rest: Any
    ) -> Result:
        assert (kind, size) == (CUjitInputType.CU_JIT_INPUT_PTX, len(data))
        assert data.endswith(b'\0') and isinstance(name, bytes)
        try:
            loaded = read_ptx(data[:-1])
        except (ValueError, KeyError):
            raise Refused(CUresult.CUDA_ERROR_INVALID_PTX) from None
        major, minor = self.gpu.driver // 1000, self.gpu.driver % 1000 // 10
        newest = PTX_OF_DRIVER.get(minor, 80 + minor) if major == 12 else 90 + minor
        log = self.links[state][CUjit_option.CU_JIT_ERROR_LOG_BUFFER]
        if loaded.ptx_version > newest:
            said = b'ptxas fatal : Unsupported .version; current version is older'
            log[: len(said)] = said
            raise Refused(CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
        fits = loaded.target <= self.target if loaded.is_portable else loaded.target == self.target
        if not fits:
            said = f'ptxas fatal : SM version sm_{loaded.target} is not this one'.encode()
            log[: len(said)] = said
            raise Refused(CUresult.CUDA_ERROR_INVALID_PTX)
        self.links[state]['loaded'] = loaded
        return (OK,)

    def complete(self, state: int) -> Result:
        loaded = self.links[state]['loaded']
        here = Loaded(
            loaded.entry, self.target, loaded.parameters, loaded.threads, kernel=loaded.kernel
        )
        code = assembled(here)
        keep = self.links[state]['keep'] = ctypes.create_string_buffer(code, len(code))
        self.gpu.compiled.append((loaded.entry, f'sm_{self.target}'))
        return OK, ctypes.addressof(keep), len(code)

    def end_link(self, state: int) -> Result:
        # What it compiled goes with it.
        keep = self.links.pop(state).get('keep')
        if keep is not None:
            ctypes.memset(keep, 0xFF, len(keep))
        return (OK,)

    def launch(self, function: int, *rest: Any) -> Result:
        grid, block, shared, stream, parameters, extra = (
            rest[:3],
            rest[3:6],
            rest[6],
            rest[7],
            rest[8],
            rest[9],
        )
        module = self.functions.get(function)
        if module not in self.modules or stream != STREAM or extra != 0:
            raise Refused(CUresult.CUDA_ERROR_INVALID_HANDLE)
        loaded = self.modules[module]
        self._check_sizes(loaded, function, grid, block, shared)
        values, kinds = parameters
        self._check_types(loaded, kinds, values)
        pointers = [
            value for value, kind in zip(values, kinds, strict=True) if kind is ctypes.c_void_p
        ]
        for address in pointers[: len(pointers) - HIDDEN_POINTERS]:
            self.gpu.view(address, 1)
        if any(pointers[len(pointers) - HIDDEN_POINTERS :]):
            raise Refused(CUresult.CUDA_ERROR_INVALID_VALUE)
        self.gpu.start_kernel(loaded.kernel, grid, tuple(values[: len(values) - HIDDEN_POINTERS]))
        return (OK,)

    def _check_sizes(
        self, loaded: Loaded, function: int, grid: Any, block: Any, shared: int
    ) -> None:
        threads = block[0] * block[1] * block[2]
        limit = self.shared.get(function, FREE_SHARED)
        if (
            any(not 1 <= size <= most for size, most in zip(grid, MAX_GRID, strict=True))
            or not 1 <= threads <= MAX_THREADS
            or (loaded.threads and threads != loaded.threads)
            or not 0 <= shared <= limit
        ):
            raise Refused(CUresult.CUDA_ERROR_INVALID_VALUE)

    def _check_types(self, loaded: Loaded, kinds: Any, values: Any) -> None:
        expected = [CTYPES[kind] if isinstance(kind, str) else None for kind in loaded.parameters]
        sizes = [ctypes.sizeof(kind) for kind in kinds]
        known = [
            kind if isinstance(kind, int) else ctypes.sizeof(CTYPES[kind])
            for kind in loaded.parameters
        ]
        fits = len(kinds) == len(expected) == len(values) and sizes == known
        if not fits or any(
            want is not None and want is not kind
            for want, kind in zip(expected, kinds, strict=True)
        ):
            raise Refused(CUresult.CUDA_ERROR_INVALID_VALUE)


def cuda_driver(gpu: FakeGpu) -> types.ModuleType:
    """Makes a module that stands in for cuda.bindings.driver."""
    # One for a GPU, so that what was loaded stays when a machine is used again.
    made: _Driver = gpu.__dict__.setdefault('loaded', _Driver(gpu))
    module = types.ModuleType('cuda.bindings.driver')
    for kind in (CUresult, CUjit_option, CUjitInputType, CUfunction_attribute, CUstream):
        setattr(module, kind.__name__, kind)
    functions: dict[str, Callable[..., Result]] = {
        'cuDriverGetVersion': made.version,
        'cuModuleLoadData': made.load,
        'cuModuleUnload': made.unload,
        'cuModuleGetFunction': made.function,
        'cuFuncSetAttribute': made.allow,
        'cuLinkCreate': made.link,
        'cuLinkAddData': made.add,
        'cuLinkComplete': made.complete,
        'cuLinkDestroy': made.end_link,
        'cuLaunchKernel': made.launch,
        'cuGetErrorString': lambda code: (OK, CUresult(code).name.encode()),
    }
    for name, function in functions.items():
        setattr(module, name, _checked(gpu, name, function))
    return module


def _checked(gpu: FakeGpu, name: str, function: Callable[..., Result]) -> Callable[..., Result]:
    """Turns what is refused into an error code, without values."""

    def call(*arguments: Any) -> Result:
        if gpu.lost:
            return (CUresult(gpu.lost), None, None)
        if code := gpu.planted.pop(name, 0):
            return (CUresult(code), None, None)
        try:
            return function(*arguments)
        except Refused as refused:
            return (refused.code, None, None)
        except GpuFault:
            return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS, None, None)

    return call
