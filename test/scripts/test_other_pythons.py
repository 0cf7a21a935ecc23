# SPDX-License-Identifier: Apache-2.0
"""Set-up, demo and fast tests in a fresh checkout under the other Pythons that this machine has:
3.10 as on Ubuntu 22.04, over an installed ROS 2 with old libraries; 3.12 and 3.13 over the wheels.

On the stand-in for Ubuntu 22.04 PyTorch is left out, as on a Jetson, and its tests are skipped.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.fresh_checkout import can_install, fresh_checkout, newcomers_environment
from support.ubuntu_22_04 import other_python, sourced, ubuntu_22_04

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

TESTS_DEADLINE_S = 5400


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if not can_install():
        pytest.skip('no index of packages can be reached')
    return fresh_checkout(tmp_path)


def python(version: str) -> Path:
    """Returns another Python of this machine, or skips the test."""
    found = other_python(version)
    if found is None:
        pytest.skip(f'there is no CPython {version} here')
    return found


def run(
    checkout: Path, environment: dict[str, str], *command: str, deadline_s: int = 1800
) -> subprocess.CompletedProcess[str]:
    """Runs a command in the checkout; its last lines stand in the assertion when it fails."""
    result = subprocess.run(
        command,
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:]
    return result


def check_all(checkout: Path, environment: dict[str, str]) -> None:
    """Captions come out of the demo, and the fast tests pass."""
    demo = run(checkout, environment, './scripts/demo', '--seconds', '60')
    assert re.search(r'(\d+) of \1 facts right', demo.stdout), demo.stdout[-4000:]
    tests = run(checkout, environment, './scripts/test', '-q', deadline_s=TESTS_DEADLINE_S)
    passed = re.search(r'(\d+) passed', tests.stdout)
    assert passed and int(passed[1]) > 5000, tests.stdout[-4000:]


def test_ubuntu_22_04_with_the_pip_and_libraries_of_apt(checkout: Path, tmp_path: Path) -> None:
    executable = ubuntu_22_04(tmp_path / 'system', python('3.10'))
    newcomer = newcomers_environment(tmp_path, PENGUIN_INSTALLER='pip', PENGUIN_TORCH='off')
    environment = sourced(executable, newcomer)
    run(checkout, environment, './scripts/setup', 'demo', 'test')
    shown = 'import cv2, numpy, onnxruntime; print(cv2.__version__, numpy.__version__)'
    versions = run(checkout, environment, f'{checkout}/.venv/bin/python', '-c', shown).stdout
    assert re.search(r'^4\.5\.4\S* 1\.2[3-6]\.\d+$', versions, re.M), versions
    # A workspace made by rosdep runs with apt's Pillow; set-up brought a newer one.
    pip = (f'{checkout}/.venv/bin/python', '-m', 'pip', 'install', '-q', '--no-deps')
    run(checkout, environment, *pip, 'pillow==9.0.1')
    check_all(checkout, environment)


@pytest.mark.parametrize('version', ['3.12', '3.13'])
def test_a_newer_python_over_the_wheels(checkout: Path, tmp_path: Path, version: str) -> None:
    environment = newcomers_environment(tmp_path, PENGUIN_PYTHON=str(python(version)))
    run(checkout, environment, './scripts/setup', 'demo', 'test')
    without_triton(checkout, environment)
    check_all(checkout, environment)
    shutil.rmtree(checkout / '.venv')


def without_triton(checkout: Path, environment: dict[str, str]) -> None:
    """Removes what only compiled kernels of CUDA need, where PyTorch came for CUDA unasked: its
    LLVM ends the process when Mesa's, with which the simulated camera draws, is already loaded.
    """
    where = subprocess.run(
        [f'{checkout}/.venv/bin/python', '-c', 'import triton'], capture_output=True, check=False
    )
    if where.returncode == 0:
        uv = shutil.which('uv') or f'{checkout}/.venv/.uv/bin/uv'
        target = f'{checkout}/.venv/bin/python'
        run(checkout, environment, uv, 'pip', 'uninstall', '-q', '--python', target, 'triton')
