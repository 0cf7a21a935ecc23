# SPDX-License-Identifier: Apache-2.0
"""The libraries of the CUDA provider are found among packages, and what is missing is named."""

from __future__ import annotations

import ctypes
import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest

from penguin_ros.backends.onnxruntime import cuda_libraries
from penguin_ros.backends.onnxruntime.cuda_libraries import (
    PROVIDER,
    load_cuda_libraries,
    needed_libraries,
)


def shared_library(path: Path, *needed: str) -> Path:
    """Writes a file that names the libraries it needs, as a linker does, and holds nothing else."""
    place, address = 64 + 2 * 56, 0x4000
    strings = b'\0' + b''.join(name.encode() + b'\0' for name in needed)
    entries, offset = [(5, address + place)], 1
    for name in needed:
        entries.append((1, offset))
        offset += len(name) + 1
    dynamic = b''.join(struct.pack('<QQ', *entry) for entry in (*entries, (0, 0)))
    size = place + len(strings) + len(dynamic)
    header = b'\x7fELF\x02\x01\x01' + bytes(9)
    header += struct.pack('<HHIQQQIHHHHHH', 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 5, 0, address, address, size, size, 4096)
    at = place + len(strings)
    linked = struct.pack(
        '<IIQQQQQQ', 2, 6, at, address + at, address + at, len(dynamic), len(dynamic), 8
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + load + linked + strings + dynamic)
    return path


def onnxruntime_in(folder: Path, *needed: str) -> ModuleType:
    """Returns a module in whose folder a CUDA provider lies."""
    shared_library(folder / 'onnxruntime' / 'capi' / PROVIDER, *needed)
    library = ModuleType('onnxruntime')
    library.__file__ = str(folder / 'onnxruntime' / '__init__.py')
    return library


class Loader:
    """Stands in for the system's loader: it knows the libraries `of_system`, loads files by their
    path once what they `need` is loaded, and finds those that are loaded by name.
    """

    def __init__(self, of_system: tuple[str, ...], need: dict[str, str]) -> None:
        self.loaded = set(of_system)
        self._need = need

    def __call__(self, name: str, mode: int = 0) -> object:
        path = Path(name)
        if path.name not in self.loaded and (
            not path.is_file()
            or self._need.get(path.name, path.name) not in (*self.loaded, path.name)
        ):
            raise OSError(f'{name}: cannot open shared object file')
        self.loaded.add(path.name)
        return object()


def test_the_needed_libraries_of_a_file_are_read() -> None:
    names = needed_libraries(Path(sys.modules['_struct'].__file__ or sys.executable))
    assert not names or all('.so' in name for name in names)
    linked = needed_libraries(Path(sys.executable).resolve())
    assert any(name.startswith('libc.so') for name in linked)


def test_no_library_or_a_damaged_one_needs_nothing(tmp_path: Path) -> None:
    path = shared_library(tmp_path / 'x.so', 'libcublas.so.13', 'libcudart.so.13')
    assert needed_libraries(path) == ['libcublas.so.13', 'libcudart.so.13']
    path.write_bytes(path.read_bytes()[:100])
    assert needed_libraries(path) == []
    assert needed_libraries(tmp_path / 'absent.so') == []
    assert needed_libraries(Path(__file__)) == []


@pytest.mark.parametrize('place', ['nvidia/cu13/lib', 'nvidia/cublas/lib', 'torch/lib'])
def test_libraries_of_packages_are_loaded_in_an_order_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """`libcublas` comes first in the list and needs `libcublasLt`."""
    packages = tmp_path / 'other_packages'
    for name in ('libcublas.so.13', 'libcublasLt.so.13'):
        (packages / place).mkdir(parents=True, exist_ok=True)
        (packages / place / name).touch()
    loader = Loader(('libcuda.so.1',), {'libcublas.so.13': 'libcublasLt.so.13'})
    monkeypatch.setattr(ctypes, 'CDLL', loader)
    monkeypatch.setattr(sys, 'path', [*sys.path, str(packages)])
    needed = ('libcublas.so.13', 'libcublasLt.so.13', 'libcuda.so.1')
    assert load_cuda_libraries(onnxruntime_in(tmp_path, *needed)) == []
    assert {'libcublas.so.13', 'libcublasLt.so.13'} <= loader.loaded


def test_what_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, 'CDLL', Loader(('libc.so.6', 'libcuda.so.1'), {}))
    monkeypatch.setattr(sys, 'path', [path for path in sys.path if 'site-packages' not in path])
    library = onnxruntime_in(tmp_path, 'libcurand.so.10', 'libc.so.6', 'libcudart.so.13')
    assert load_cuda_libraries(library) == ['libcurand.so.10', 'libcudart.so.13']


def test_the_librarys_own_search_is_asked_first_and_its_words_are_kept_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = Loader((), {})
    monkeypatch.setattr(ctypes, 'CDLL', loader)
    library = onnxruntime_in(tmp_path, 'libcudart.so.13')

    def preload() -> None:
        print('Failed to load something')
        loader.loaded.add('libcudart.so.13')
        raise RuntimeError('and gave up')

    library.preload_dlls = preload  # type: ignore[attr-defined]
    assert load_cuda_libraries(library) == []
    assert capsys.readouterr().out == ''


def test_an_onnxruntime_without_the_provider_needs_nothing(tmp_path: Path) -> None:
    library = ModuleType('onnxruntime')
    library.__file__ = str(tmp_path / '__init__.py')
    assert load_cuda_libraries(library) == []
    assert cuda_libraries.PACKAGE.startswith('onnxruntime-gpu')
