# SPDX-License-Identifier: Apache-2.0
"""Wheels of a given version in folders of their own, outside the repository and outside this
environment.

A folder goes on PYTHONPATH of a process of its own, so that several versions of one library can be
tested in one run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TENSORRT_VERSIONS = ('10.3.0', '10.13.3.9', '10.16.1.11', '11.4.0.106')
RTX_VERSIONS = ('1.4.0.76', '1.7.1.116')
CUDA_VERSIONS = ('12.9.10', '13.5.0')
_DONE = '.complete'
_refused: dict[str, str] = {}  # why, by folder, so that pip is asked once in a run


def cache_folder() -> Path:
    """Returns where wheels are kept between runs."""
    return (
        Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'penguin_ros' / 'wheels'
    )


def tensorrt_bindings(version: str) -> Path:
    """Returns the Python bindings of TensorRT; they import with the libraries of
    `stub_libraries`.
    """
    return installed(f'tensorrt-{version}', f'tensorrt_cu12_bindings=={version}')


def rtx_bindings(version: str) -> Path:
    """Returns the Python bindings of TensorRT for RTX alone."""
    return installed(f'tensorrt-rtx-bindings-{version}', f'tensorrt-rtx-cu13-bindings=={version}')


def tensorrt_for_rtx(version: str) -> Path:
    """Returns TensorRT for RTX: real parser and builder."""
    return installed(
        f'tensorrt-rtx-{version}',
        f'tensorrt-rtx-cu13-bindings=={version}',
        f'tensorrt-rtx-cu13-libs=={version}',
    )


def cuda_bindings(version: str) -> Path:
    """Returns NVIDIA's Python bindings of the CUDA runtime; they import without a driver."""
    return installed(f'cuda-bindings-{version}', f'cuda-bindings=={version}', 'cuda-pathfinder')


def installed(name: str, *requirements: str) -> Path:
    """Returns the folder `name` of the cache with these wheels in it; the test is skipped when they
    cannot be had.
    """
    folder = cache_folder() / f'{name}-py{sys.version_info.major}{sys.version_info.minor}'
    if folder.name in _refused:
        pytest.skip(_refused[folder.name])
    if not (folder / _DONE).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        started = Path(tempfile.mkdtemp(prefix=f'{folder.name}.', dir=folder.parent))
        try:
            _install(started, requirements, folder.name)
            (started / _DONE).touch()
            if not (folder / _DONE).exists():
                shutil.rmtree(folder, ignore_errors=True)
                started.rename(folder)
        finally:
            shutil.rmtree(started, ignore_errors=True)
    return folder


def _install(folder: Path, requirements: tuple[str, ...], name: str) -> None:
    # In one call: two packages that share a namespace (cuda) are not merged by two.
    command = [
        sys.executable,
        '-m',
        'pip',
        'install',
        '--quiet',
        '--no-deps',
        '--only-binary=:all:',
        '--retries=1',
        '--timeout=15',
        '--disable-pip-version-check',
        '--target',
        str(folder),
        *requirements,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f'{requirements[0]} cannot be had: {error}')
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ['pip failed']
        _refused[name] = f'{requirements[0]} cannot be had: {lines[-1]}'
        pytest.skip(_refused[name])
