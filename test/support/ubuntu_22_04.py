# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Ubuntu 22.04 with an installed ROS 2: a copy of a Python 3.10 with the versions of
pip, numpy, OpenCV and Pillow that apt has there, and the ROS 2 wheels in the place of /opt/ros.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIP = '22.0.2'
PACKAGES = ('numpy==1.21.5', 'opencv-python-headless==4.5.4.60', 'pillow==9.0.1')
"""apt's versions of python3-numpy, python3-opencv (as the wheel of the same release) and
python3-pil.
"""


def other_python(version: str) -> Path | None:
    """Returns another CPython of this machine, such as '3.10': on the PATH, or beside the one that
    runs.
    """
    beside = sorted(Path(sys.base_prefix).parent.glob(f'{version}.*/bin/python{version}'))
    found = [shutil.which(f'python{version}'), *(str(path) for path in beside)]
    for path in filter(None, found):
        command = [path, '-c', 'import sys, ssl; print("%d.%d" % sys.version_info[:2])']
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.stdout.strip() == version:
            return Path(path)
    return None


def ubuntu_22_04(folder: Path, python: Path) -> Path:
    """Copies the Python below `folder`, installs what apt would, and returns its executable."""
    prefix = subprocess.run(
        [python, '-c', 'import sys; print(sys.base_prefix)'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shutil.copytree(prefix, folder / 'usr', symlinks=True)
    executable = folder / 'usr' / 'bin' / 'python3.10'
    _install(executable, f'pip=={PIP}')
    _bundle_pip(folder / 'usr' / 'lib' / 'python3.10' / 'ensurepip', executable)
    _install(executable, *PACKAGES)
    wheels = ROOT / 'requirements' / 'ros_wheels.txt'
    _install(executable, '-r', str(wheels), 'pytest==6.2.5')
    share = folder / 'usr' / 'share'
    for path in share.rglob('*.cmake'):  # they name the prefix and the numpy they were built with
        text = path.read_text(errors='surrogateescape')
        changed = re.sub(r'/opt/python/cp3\d+-cp3\d+', str(folder / 'usr'), text)
        changed = changed.replace('numpy/_core/include', 'numpy/core/include')
        if changed != text:
            path.write_text(changed, errors='surrogateescape')
    return executable


def sourced(executable: Path, environment: dict[str, str]) -> dict[str, str]:
    """Returns the environment in which this ROS 2 is sourced."""
    prefix = executable.parents[1]
    packages = prefix / 'lib' / 'python3.10' / 'site-packages'
    libraries = [*(str(path) for path in packages.glob('ros_*.libs')), str(prefix / 'lib')]
    return {
        **environment,
        'PATH': f'{prefix}/bin:{environment["PATH"]}',
        'PENGUIN_PYTHON': str(executable),
        'ROS_DISTRO': 'jazzy',
        'AMENT_PREFIX_PATH': str(prefix),
        'CMAKE_PREFIX_PATH': str(prefix),
        'LD_LIBRARY_PATH': os.pathsep.join(libraries),
        '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1',
    }


def _install(executable: Path, *packages: str) -> None:
    options = [
        '-m',
        'pip',
        'install',
        '-q',
        '--disable-pip-version-check',
        '--no-warn-script-location',
    ]
    subprocess.run([executable, *options, *packages], check=True)


def _bundle_pip(folder: Path, executable: Path) -> None:
    """Puts the old pip into what new virtual environments are made with."""
    for path in (folder / '_bundled').glob('pip-*.whl'):
        path.unlink()
    command = [
        '-m',
        'pip',
        'download',
        '-q',
        '--no-deps',
        '-d',
        str(folder / '_bundled'),
        f'pip=={PIP}',
    ]
    subprocess.run([executable, *command], check=True)
    module = folder / '__init__.py'
    text = re.sub(r'_PIP_VERSION = "[^"]+"', f'_PIP_VERSION = "{PIP}"', module.read_text())
    module.write_text(text)
