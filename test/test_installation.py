# SPDX-License-Identifier: Apache-2.0
"""The line that brings a package into this Python fits the Python, whoever owns it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from penguin_ros import installation
from penguin_ros.installation import (
    Python,
    demands,
    install_command,
    replace_command,
    requirement,
    this_python,
)

ROOT = Path(__file__).resolve().parents[1]
EXE = '/opt/py/bin/python3'
DEBIAN = Python('/usr/bin/python3', is_debian=True)
MANAGED = replace(DEBIAN, is_externally_managed=True)
ROS = replace(MANAGED, is_ros_sourced=True)


@pytest.fixture(autouse=True)
def no_bounds(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Lines without bounds read better; those tests that are about bounds keep them."""
    if 'bounds' not in request.node.name:
        monkeypatch.setattr(installation, 'demands', dict)


@pytest.mark.parametrize(
    ('python', 'package', 'line'),
    [
        (Python(EXE), 'onnx', f'{EXE} -m pip install onnx'),
        (
            Python('/srv/app/.venv/bin/python', is_venv=True, is_externally_managed=True),
            'onnx',
            '/srv/app/.venv/bin/python -m pip install onnx',
        ),
        (
            Python('/my robot/bin/python', is_venv=True),
            'cuda-bindings==12.9.*',
            '"/my robot/bin/python" -m pip install "cuda-bindings==12.9.*"',
        ),
        (Python(EXE, is_conda=True), 'onnx', f'{EXE} -m pip install onnx'),
        (
            Python(EXE, '3.11', is_conda=True, is_conda_base=True),
            'onnx',
            'conda create --name penguin python=3.11 pip && conda activate penguin && '
            'python -m pip install penguin_ros onnx',
        ),
        (DEBIAN, 'onnx', '/usr/bin/python3 -m pip install onnx'),
        (DEBIAN, 'opencv-python-headless', 'sudo apt-get install python3-opencv'),
        (MANAGED, 'rich', 'sudo apt-get install python3-rich'),
        (
            MANAGED,
            'onnx',
            '/usr/bin/python3 -m venv ~/penguin_venv && ~/penguin_venv/bin/python -m pip install '
            'penguin_ros onnx && source ~/penguin_venv/bin/activate',
        ),
        (
            ROS,
            'onnx',
            '/usr/bin/python3 -m venv --system-site-packages ~/penguin_venv && '
            '~/penguin_venv/bin/python -m pip install onnx && '
            'export PYTHONPATH="$HOME/penguin_venv/lib/python3.12/site-packages:$PYTHONPATH"',
        ),
        (
            replace(DEBIAN, version='3.10', is_ros_sourced=True, has_system_numpy_1=True),
            'onnxruntime',
            '/usr/bin/python3 -m pip install onnxruntime "numpy<2"',
        ),
        (
            replace(ROS, checkout='/src/penguin_ros'),
            'onnx',
            '/src/penguin_ros/scripts/setup && source /src/penguin_ros/scripts/env.sh',
        ),
        (
            replace(DEBIAN, is_user_site_hidden=True),
            'onnx',
            'unset PYTHONNOUSERSITE && /usr/bin/python3 -m pip install onnx',
        ),
        (
            replace(DEBIAN, has_pip=False),
            'onnx',
            'sudo apt-get install python3-pip && /usr/bin/python3 -m pip install onnx',
        ),
    ],
    ids=lambda value: '' if isinstance(value, Python) else None,
)
def test_the_line_fits_the_python(
    python: Python, package: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    assert install_command(package, python=python) == line


def test_a_venv_without_pip_is_served_by_uv_where_that_is_and_else_gets_pip_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = Python(EXE, is_venv=True, has_pip=False)
    monkeypatch.setattr(shutil, 'which', lambda name: '/bin/uv')
    assert install_command('onnx', python=python) == f'uv pip install --python {EXE} onnx'
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    assert (
        install_command('onnx', python=python) == f'{EXE} -m ensurepip && {EXE} -m pip install onnx'
    )


def test_debian_has_no_newer_version_of_what_is_too_old() -> None:
    line = install_command('pillow', options=['--upgrade'], python=DEBIAN)
    assert line == '/usr/bin/python3 -m pip install --upgrade pillow'


def test_a_package_that_another_replaces_is_removed_first() -> None:
    remove, install = replace_command('onnxruntime', 'onnxruntime-gpu').split(' && ')
    assert remove == f'{sys.executable} -m pip uninstall --yes onnxruntime'
    assert install == f'{sys.executable} -m pip install onnxruntime-gpu'


def test_bounds_are_those_of_setup_py(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        requires = [
            'numpy<3,>=1.21',
            'rich',
            'onnx (<2,>=1.19); extra == "export"',
            'torch<3,>=2.1; extra == "torch"',
            'torch<3,>=2.9; extra == "train"',
        ]

    monkeypatch.setattr(installation, 'distribution', lambda name: Installed)
    assert demands() == {
        'numpy': '>=1.21,<3',
        'rich': '',
        'onnx': '>=1.19,<2',
        'torch': '>=2.1,<3',
    }
    assert requirement('onnx') == 'onnx>=1.19,<2' and requirement('onnx==1.19.1') == 'onnx==1.19.1'
    assert install_command('onnx', python=Python(EXE)) == f'{EXE} -m pip install "onnx>=1.19,<2"'


def test_bounds_are_unknown_where_nothing_was_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, 'distribution', absent)
    assert demands() == {} and requirement('onnx') == 'onnx'
    assert this_python().source == 'penguin_ros'


def test_a_folder_that_pip_installed_from_is_named_while_it_exists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / 'my source'
    folder.mkdir()

    class Installed:
        requires: list[str] = []

        @staticmethod
        def read_text(name: str) -> str:
            return json.dumps({'url': folder.as_uri(), 'dir_info': {}})

    monkeypatch.setattr(installation, 'distribution', lambda name: Installed)
    assert this_python().source == str(folder)
    line = install_command(
        'onnx', python=Python(EXE, is_externally_managed=True, source=str(folder))
    )
    assert f'install "{folder}" onnx' in line
    folder.rmdir()
    assert this_python().source == 'penguin_ros'


def test_the_marker_of_pep_668_counts_outside_of_a_venv_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'EXTERNALLY-MANAGED').touch()
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path))
    monkeypatch.setattr(sys, 'prefix', sys.base_prefix)
    assert this_python().is_externally_managed
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    assert this_python().is_venv and not this_python().is_externally_managed


def test_conda_is_known_by_its_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    monkeypatch.setattr(sys, 'base_prefix', str(tmp_path))
    assert not this_python().is_conda
    (tmp_path / 'conda-meta').mkdir()
    assert this_python().is_conda and not this_python().is_conda_base
    (tmp_path / 'condabin').mkdir()
    assert this_python().is_conda_base


@pytest.mark.parametrize(
    ('version', 'is_ros', 'configuration', 'expected'),
    [
        ('3.10', True, '', True),
        ('3.12', True, 'include-system-site-packages = true', True),
        ('3.12', True, 'include-system-site-packages = false', False),
        ('3.12', False, '', False),
        ('3.14', True, '', False),
    ],
)
def test_the_numpy_that_opencv_of_the_system_was_built_for_is_kept_where_that_is_used(
    version: str,
    is_ros: bool,
    configuration: str,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(installation, '_version', lambda: version)
    monkeypatch.setattr(sys, 'base_prefix', '/usr')
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    monkeypatch.setenv('AMENT_PREFIX_PATH', '/opt/ros' if is_ros else '')
    if configuration:
        (tmp_path / 'pyvenv.cfg').write_text(f'home = /usr/bin\n{configuration}\n')
    assert this_python().has_system_numpy_1 is expected


def test_a_user_site_that_pip_would_use_and_nothing_reads_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, 'prefix', sys.base_prefix)
    monkeypatch.setattr(installation.site, 'ENABLE_USER_SITE', False)
    monkeypatch.setattr(installation.os, 'access', lambda path, mode: False)
    monkeypatch.delenv('PYTHONNOUSERSITE', raising=False)
    assert not this_python().is_user_site_hidden
    monkeypatch.setenv('PYTHONNOUSERSITE', '1')
    assert this_python().is_user_site_hidden


@pytest.mark.skipif(
    not list(Path('/usr/lib').glob('python3*/EXTERNALLY-MANAGED')),
    reason='the Python of this system takes packages',
)
def test_the_python_of_this_debian_is_told_to_use_the_checkout() -> None:
    program = 'from penguin_ros.installation import install_command; print(install_command("onnx"))'
    done = subprocess.run(
        ['/usr/bin/python3', '-c', program],
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f'{ROOT}/scripts/setup && source {ROOT}/scripts/env.sh'
