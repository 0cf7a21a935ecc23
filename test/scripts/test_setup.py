# SPDX-License-Identifier: Apache-2.0
"""scripts/setup, in a copy of the checkout where something is missing, says what, why, and what to
type.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = str(Path(sys.base_prefix) / 'bin' / f'python3.{sys.version_info.minor}')
EXPLAINED = 90


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copies what the set-up reads, without anything built."""
    folder = tmp_path / 'checkout'
    for name in ('scripts', 'requirements', 'penguin_msgs', 'launch', 'config'):
        shutil.copytree(ROOT / name, folder / name)
    for name in ('package.xml', 'setup.py', 'setup.cfg', 'pyproject.toml', 'colcon_defaults.yaml'):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Makes a folder that is the whole PATH: every program of this machine that the set-up uses, to
    be taken away or replaced.
    """
    folder = tmp_path / 'bin'
    folder.mkdir()
    for place in ('/usr/local/bin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'):
        for program in Path(place).glob('*') if Path(place).is_dir() else ():
            if not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    for name in ('g++', 'cmake', 'make'):
        if not (folder / name).is_symlink():
            fake(folder, name, 'exit 0')
    fake(folder, 'uname', 'echo x86_64')
    fake(folder, 'id', 'echo 1000')
    return folder


def fake(folder: Path, name: str, script: str) -> None:
    """Replaces a program by a shell script."""
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)


def set_up(checkout: Path, programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs it with nothing of this environment except the given programs and variables."""
    environment = {
        'PATH': str(programs),
        'HOME': os.environ.get('HOME', '/'),
        'TMPDIR': str(checkout.parent),
        'PENGUIN_PYTHON': PYTHON,
        **variables,
    }
    return subprocess.run(
        [checkout / 'scripts' / 'setup'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_missing_compiler_is_named_with_the_command_that_installs_it(
    checkout: Path, programs: Path
) -> None:
    (programs / 'g++').unlink()
    result = set_up(checkout, programs)
    assert result.returncode == EXPLAINED
    assert 'set-up failed: programs are missing' in result.stderr
    assert 'sudo apt-get install -y g++ && ./scripts/setup' in result.stderr
    assert not (checkout / '.venv').exists()


def test_root_has_missing_debian_packages_installed(
    checkout: Path, programs: Path, tmp_path: Path
) -> None:
    (programs / 'g++').unlink()
    fake(programs, 'id', 'echo 0')
    # Installs a compiler, and ends the run at the next step in good time.
    fake(
        programs,
        'apt-get',
        f'echo "$@" >>{tmp_path}/calls; ln -sf /bin/true {programs}/g++; rm -f {programs}/cmake',
    )
    result = set_up(checkout, programs)
    calls = (tmp_path / 'calls').read_text().splitlines()
    assert calls[0].startswith('update')
    assert calls[1].startswith('install') and 'g++' in calls[1].split()
    assert 'Debian packages: g++' in result.stderr
    assert 'not found: cmake' in result.stderr


def test_failure_of_apt_shows_its_own_words(checkout: Path, programs: Path) -> None:
    (programs / 'g++').unlink()
    fake(programs, 'id', 'echo 0')
    fake(programs, 'apt-get', 'echo "E: Unable to locate package g++"; exit 100')
    result = set_up(checkout, programs)
    assert result.returncode == 100
    assert 'E: Unable to locate package g++' in result.stderr
    assert 'type: apt-get install -y g++' in result.stderr


def test_another_architecture_without_ros_is_told_to_source_one(
    checkout: Path, programs: Path
) -> None:
    fake(programs, 'uname', 'echo aarch64')
    result = set_up(checkout, programs)
    assert result.returncode == EXPLAINED
    assert 'x86-64 only, this machine is aarch64' in result.stderr
    assert 'type: source /opt/ros/' in result.stderr


def test_an_unsupported_python_is_refused_with_the_versions_that_work(
    checkout: Path, programs: Path
) -> None:
    fake(programs, 'python3.9', 'if [ "$1" = -V ]; then echo Python 3.9.1; else exit 1; fi')
    result = set_up(checkout, programs, PENGUIN_PYTHON=str(programs / 'python3.9'))
    assert result.returncode == EXPLAINED
    assert 'python3.9 is Python 3.9.1, not CPython 3.10 to 3.13' in result.stderr
    assert 'PENGUIN_PYTHON=/path/to/python3 ./scripts/setup' in result.stderr


def test_a_sourced_ros_without_its_prefix_is_refused(checkout: Path, programs: Path) -> None:
    result = set_up(checkout, programs, ROS_DISTRO='jazzy')
    assert result.returncode == EXPLAINED
    assert 'source /opt/ros/jazzy/setup.bash && ./scripts/setup' in result.stderr


def test_a_python_that_cannot_import_the_sourced_ros_is_refused(
    checkout: Path, programs: Path
) -> None:
    result = set_up(checkout, programs, ROS_DISTRO='jazzy', AMENT_PREFIX_PATH='/opt/ros/jazzy')
    assert result.returncode == EXPLAINED
    assert 'cannot import rclpy of ROS 2 jazzy' in result.stderr


@pytest.mark.slow
def test_failing_downloads_are_shown_and_set_up_goes_on_there_next_time(
    checkout: Path, programs: Path
) -> None:
    offline = {
        'PIP_CONFIG_FILE': '/dev/null',
        'PIP_INDEX_URL': 'http://127.0.0.1:9/simple',
        'PIP_RETRIES': '0',
    }
    result = set_up(checkout, programs, **offline)
    assert result.returncode not in (0, EXPLAINED)
    assert 'set-up failed: Python packages' in result.stderr
    assert '127.0.0.1' in result.stderr or 'No matching distribution' in result.stderr
    assert 'type: ./scripts/setup once the network' in result.stderr
    assert [path.name for path in (checkout / '.venv' / '.setup').iterdir()] == ['make_venv']
    again = set_up(checkout, programs, **offline)
    assert 'virtual environment' not in again.stderr


def test_sourcing_the_environment_before_set_up_says_what_to_type(checkout: Path) -> None:
    result = subprocess.run(
        ['bash', '-c', f'source {checkout}/scripts/env.sh'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode != 0
    assert f'Type: {checkout}/scripts/setup' in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    'ROS_DISTRO' in os.environ or not (Path(sys.prefix) / 'share' / 'ament_index').is_dir(),
    reason='plays an installed ROS 2 with the wheels of this .venv',
)
def test_over_a_sourced_ros_it_builds_on_what_that_brings(checkout: Path) -> None:
    for name in ('penguin_ros', 'resource', 'LICENSE'):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, checkout / name)
    packages = Path(sys.prefix) / 'lib' / f'python3.{sys.version_info.minor}' / 'site-packages'
    libraries = [str(path) for path in packages.glob('ros_*.libs')] + [f'{sys.prefix}/lib']
    sourced = {
        'PATH': '/usr/bin:/bin',
        'HOME': os.environ.get('HOME', '/'),
        'PENGUIN_PYTHON': PYTHON,
        'ROS_DISTRO': 'jazzy',
        'AMENT_PREFIX_PATH': sys.prefix,
        'CMAKE_PREFIX_PATH': sys.prefix,
        'PYTHONPATH': str(packages),
        'LD_LIBRARY_PATH': ':'.join(libraries),
        '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1',
    }
    result = subprocess.run(
        [checkout / 'scripts' / 'setup'],
        env=sourced,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert 'on ROS 2 jazzy' in result.stderr
    own = checkout / '.venv' / 'lib' / packages.parent.name / 'site-packages'
    assert not (own / 'numpy').exists() and not (own / 'torch').exists()
    assert (checkout / '.venv' / 'COLCON_IGNORE').exists()
    node = (
        (checkout / 'install' / 'lib' / 'penguin_ros' / 'penguin_node').read_text().splitlines()[0]
    )
    assert node.startswith(f'#!{checkout}/.venv/bin/python')
    program = 'import penguin_msgs.msg, rclpy; print(penguin_msgs.__file__)'
    shell = f'source {checkout}/scripts/env.sh && python -c "{program}"'
    imported = subprocess.run(
        ['bash', '-c', shell], env=sourced, capture_output=True, text=True, check=True
    )
    assert imported.stdout.startswith(f'{checkout}/install/')
