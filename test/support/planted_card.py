# SPDX-License-Identifier: Apache-2.0
"""A machine with an NVIDIA card, planted: the driver's files, and a stand-in for libcuda."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penguin_ros import nvidia_card

VERSION = 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Nov  3 10:00:00 UTC 2026\n'


def plant_card(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    names: tuple[str, ...] = ('NVIDIA GeForce RTX 4090',),
    cuda: int = 13000,
    driver: str = '580.95.05',
) -> None:
    """Plants cards whose driver runs a version of CUDA; no names are a machine without any."""
    (folder / 'gpus').mkdir(parents=True)
    for number, name in enumerate(names):
        (folder / 'gpus' / f'0000:0{number}:00.0').mkdir()
        text = f'Model: \t\t {name}\nIRQ:   \t\t 142\n'
        (folder / 'gpus' / f'0000:0{number}:00.0' / 'information').write_text(text)
    if driver:
        (folder / 'version').write_text(VERSION.format(driver))
    monkeypatch.setattr(nvidia_card, 'DRIVER_FILES', folder)
    library = libcuda(cuda) if cuda else None
    monkeypatch.setattr(nvidia_card, '_library', lambda: library)


def libcuda(version: int, names: tuple[str, ...] = ()) -> Any:
    """Returns what stands in for the driver's library."""

    def get_version(pointer: Any) -> int:
        pointer._obj.value = version
        return 0

    def get_count(pointer: Any) -> int:
        pointer._obj.value = len(names)
        return 0

    def get_name(buffer: Any, size: int, index: int) -> int:
        ctypes.memmove(buffer, names[index].encode() + b'\0', len(names[index]) + 1)
        return 0

    return SimpleNamespace(
        cuInit=lambda flags: 0,
        cuDriverGetVersion=get_version,
        cuDeviceGetCount=get_count,
        cuDeviceGetName=get_name,
    )
