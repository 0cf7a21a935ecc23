# SPDX-License-Identifier: Apache-2.0
"""The shared libraries that ONNX Runtime's CUDA provider needs: found among NVIDIA's packages,
those of a torch installed by pip, and the system's, and loaded before the provider asks for them,
so that nobody has to set LD_LIBRARY_PATH.

Without them the library only logs that it goes on with the CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

PROVIDER = 'libonnxruntime_providers_cuda.so'
DRIVER = 'libcuda.so.1'
FOLDERS = ('nvidia/*/lib', 'nvidia/*/lib64', 'torch/lib')
"""Where packages keep shared libraries, under each entry of sys.path."""

PACKAGE = 'onnxruntime-gpu[cuda,cudnn]'
"""Brings the provider with all that it needs but the driver."""

_DYNAMIC, _STRINGS, _NEEDED, _LOAD = 2, 5, 1, 1
"""Numbers of the ELF format: the dynamic segment, the address of its strings, a library that is
needed, a segment that is loaded.
"""


def load_cuda_libraries(library: ModuleType) -> list[str]:
    """Loads what the CUDA provider of an imported onnxruntime needs; returns the names of what
    cannot be found or loaded, nothing where this onnxruntime has no such provider.
    """
    provider = Path(library.__file__ or '').parent / 'capi' / PROVIDER
    if not provider.is_file():
        return []
    if hasattr(library, 'preload_dlls'):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            library.preload_dlls()  # prints what it does not find, which is asked again here
    missing = needed_libraries(provider)
    while True:  # one may need another that comes later in the list
        left = [name for name in missing if not _is_loaded(name)]
        if len(left) in (0, len(missing)):
            return left
        missing = left


def needed_libraries(path: Path) -> list[str]:
    """Returns the names of the shared libraries that one names in its file (ELF, 64 bit, little
    endian); nothing where it is no such file.
    """
    try:
        with path.open('rb') as file:
            return list(_needed(file))
    except (OSError, struct.error, ValueError):
        return []


def _is_loaded(name: str) -> bool:
    return any(_can_load(candidate) for candidate in (name, *_found(name)))


def _found(name: str) -> Iterator[str]:
    for entry in sys.path:
        for folder in FOLDERS:
            yield from sorted(map(str, Path(entry or '.').glob(f'{folder}/{name}')))


def _can_load(name: str) -> bool:
    try:
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _needed(file: io.BufferedReader) -> Iterator[str]:
    header = file.read(64)
    if header[:6] != b'\x7fELF\x02\x01':
        return
    (offset,) = struct.unpack_from('<Q', header, 32)
    size, count = struct.unpack_from('<HH', header, 54)
    segments = [_read(file, '<IIQQQQQQ', offset + index * size) for index in range(count)]
    dynamic = next((segment for segment in segments if segment[0] == _DYNAMIC), None)
    if dynamic is None:
        return
    begin, length = dynamic[2], dynamic[5]
    entries = [_read(file, '<QQ', begin + 16 * index) for index in range(length // 16)]
    strings = _in_file(next(value for tag, value in entries if tag == _STRINGS), segments)
    for tag, value in entries:
        if tag == _NEEDED:
            file.seek(strings + value)
            yield file.read(256).partition(b'\0')[0].decode('ascii')


def _in_file(address: int, segments: Sequence[tuple[int, ...]]) -> int:
    """The place in the file of what is loaded at an address."""
    for kind, _, offset, start, _, size, *_ in segments:
        if kind == _LOAD and start <= address < start + size:
            return address - start + offset
    raise ValueError('not in a segment that is loaded')


def _read(file: io.BufferedReader, layout: str, place: int) -> tuple[int, ...]:
    file.seek(place)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
