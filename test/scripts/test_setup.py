# SPDX-License-Identifier: Apache-2.0
"""scripts/setup, in a copy of the checkout where something is missing, says what, why, and what to
type.
"""

from __future__ import annotations

import os
import re
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
    for name in ('scripts', 'requirements', 'penguin_msgs', 'launch', 'config', 'engines'):
        shutil.copytree(ROOT / name, folder / name)
    (folder / 'penguin_ros').mkdir()
    for name in ('jetson.py', 'nvidia_card.py'):
        shutil.copy(ROOT / 'penguin_ros' / name, folder / 'penguin_ros' / name)
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


def set_up(
    checkout: Path, programs: Path, arguments: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs it with nothing of this environment except the given programs and variables."""
    environment = {
        'PATH': str(programs),
        'HOME': os.environ.get('HOME', '/'),
        'TMPDIR': str(checkout.parent),
        'PENGUIN_PYTHON': PYTHON,
        **variables,
    }
    return subprocess.run(
        [checkout / 'scripts' / 'setup', *arguments],
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
    assert 'set-up failed: Debian packages: g++' in result.stderr
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
    fake(programs, 'another_python', 'case "$*" in *rclpy*) exit 1 ;; esac')
    result = set_up(
        checkout,
        programs,
        ROS_DISTRO='jazzy',
        AMENT_PREFIX_PATH='/opt/ros/jazzy',
        PENGUIN_PYTHON=str(programs / 'another_python'),
    )
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
    assert 'note: uv cannot be had here, so pip installs' in result.stderr
    assert 'set-up failed: packages: ROS 2' in result.stderr
    assert '127.0.0.1' in result.stderr or 'No matching distribution' in result.stderr
    assert 'type: ./scripts/setup once the network' in result.stderr
    assert [path.name for path in (checkout / '.venv' / '.setup').iterdir()] == ['make_venv']
    again = set_up(checkout, programs, **offline)
    assert 'virtual environment' not in again.stderr


def test_a_full_disk_is_told_before_anything_is_installed(checkout: Path, programs: Path) -> None:
    fake(programs, 'df', 'echo head; echo "/dev/x 9999 9000 210 98% /"')
    result = set_up(checkout, programs)
    assert result.returncode == EXPLAINED
    assert 'set-up failed: the disk is too full' in result.stderr
    assert '210 MB are free, about 1000 MB are needed' in result.stderr
    assert not (checkout / '.venv').exists()


def test_the_first_lines_tell_time_and_disk(checkout: Path, programs: Path) -> None:
    (programs / 'g++').unlink()
    result = set_up(checkout, programs)
    assert 'a first time takes 1 to 3 minutes' in result.stderr
    assert re.search(r'needs about 1000 MB of disk \(\d+ MB are free\)', result.stderr)


def test_an_unknown_part_or_installer_is_refused(checkout: Path, programs: Path) -> None:
    result = set_up(checkout, programs, arguments=('tests',))
    assert result.returncode == EXPLAINED
    assert 'unknown part: tests' in result.stderr and 'demo, test and torch' in result.stderr
    result = set_up(checkout, programs, PENGUIN_INSTALLER='conda')
    assert result.returncode == EXPLAINED
    assert 'PENGUIN_INSTALLER=conda' in result.stderr and 'it is pip or uv' in result.stderr


def test_a_foreign_pythonpath_is_named_and_not_searched(checkout: Path, programs: Path) -> None:
    (programs / 'g++').unlink()
    result = set_up(checkout, programs, PYTHONPATH='/somewhere/else')
    assert 'note: PYTHONPATH is set (/somewhere/else)' in result.stderr


@pytest.mark.parametrize(
    ('release', 'said'),
    [
        (
            '# R36 (release), REVISION: 4.3, GCID: 38968081',
            'l4t=36.4.3 jetpack=6.1_or_6.2 cuda=12.6',
        ),
        ('# R38 (release), REVISION: 4.0, GCID: 1', 'l4t=38.4.0 jetpack=7.1 cuda=13.0'),
    ],
)
def test_a_jetson_is_recognised(
    checkout: Path, programs: Path, tmp_path: Path, release: str, said: str
) -> None:
    (programs / 'g++').unlink()
    root = jetson_root(tmp_path, release)
    result = set_up(checkout, programs, PENGUIN_SYSTEM_ROOT=str(root))
    assert f'Jetson: {said}' in result.stderr


def test_a_card_is_named_with_the_command_that_makes_use_of_it(
    checkout: Path, programs: Path, tmp_path: Path
) -> None:
    (programs / 'g++').unlink()
    card = tmp_path / 'system' / 'proc' / 'driver' / 'nvidia' / 'gpus' / '0'
    card.mkdir(parents=True)
    (card / 'information').write_text('Model: \t\t NVIDIA GeForce RTX 4090\nIRQ: 1\n')
    system = str(tmp_path / 'system')
    result = set_up(checkout, programs, PENGUIN_SYSTEM_ROOT=system)
    assert 'NVIDIA card: NVIDIA GeForce RTX 4090' in result.stderr
    assert 'PyTorch for it (several GB): ./scripts/setup torch' in result.stderr
    assert 'idle' not in set_up(checkout, programs, ('torch',), PENGUIN_SYSTEM_ROOT=system).stderr
    assert 'NVIDIA' not in set_up(checkout, programs, PENGUIN_SYSTEM_ROOT=str(tmp_path)).stderr


@pytest.mark.parametrize(
    ('choice', 'passed'), [('', ''), ('off', ''), ('cpu', 'cpu'), ('auto', 'auto')]
)
def test_uv_is_told_which_build_of_torch_is_wanted(
    checkout: Path, tmp_path: Path, choice: str, passed: str
) -> None:
    (tmp_path / 'uv').write_text('#!/bin/sh\necho "backend=$UV_TORCH_BACKEND" "$@"\n')
    (tmp_path / 'uv').chmod(0o755)
    script = f"""
    root={checkout} python={PYTHON} venv={sys.prefix}
    source {checkout}/scripts/setup_system.sh
    source {checkout}/scripts/setup_packages.sh
    flavour="$wheels" installer={tmp_path}/uv
    install_torch"""
    output = subprocess.run(
        ['bash', '-c', script],
        env={'PATH': '/usr/bin:/bin', 'PENGUIN_TORCH': choice},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.startswith(f'backend={passed} pip install --python')
    assert 'requirements/torch.txt' in output


def test_a_jetson_gets_torch_only_when_asked_for(checkout: Path, tmp_path: Path) -> None:
    root = jetson_root(tmp_path, '# R36 (release), REVISION: 4.3, GCID: 38968081')
    assert 'install_torch' in steps_of(checkout, 'test')
    assert 'install_torch' not in steps_of(checkout, 'test', PENGUIN_TORCH='off')
    assert 'install_torch' not in steps_of(checkout, 'test', PENGUIN_SYSTEM_ROOT=str(root))
    assert 'install_torch' in steps_of(checkout, 'test torch', PENGUIN_SYSTEM_ROOT=str(root))


def test_only_tests_bring_what_only_tests_need(checkout: Path) -> None:
    assert steps_of(checkout, '') == ['install_run']
    assert steps_of(checkout, 'demo') == ['install_run', 'build_bundle']
    test_steps = ['install_run', 'install_test', 'install_kernels', 'install_torch']
    assert steps_of(checkout, 'test') == test_steps


def test_a_jetson_gets_no_compiler_of_kernels(checkout: Path, tmp_path: Path) -> None:
    root = jetson_root(tmp_path, '# R36 (release), REVISION: 4.3, GCID: 38968081')
    assert 'install_kernels' not in steps_of(checkout, 'test', PENGUIN_SYSTEM_ROOT=str(root))


def jetson_root(tmp_path: Path, release: str) -> Path:
    """Makes a folder that looks like the root of a Jetson's file system."""
    (tmp_path / 'jetson' / 'etc').mkdir(parents=True)
    (tmp_path / 'jetson' / 'etc' / 'nv_tegra_release').write_text(f'{release}\n')
    return tmp_path / 'jetson'


def steps_of(checkout: Path, parts: str, **variables: str) -> list[str]:
    """Returns the steps that install packages for these parts."""
    script = f"""
    root={checkout} python={PYTHON} parts=" {parts} "
    wants() {{ [[ "$parts" == *" $1 "* ]]; }}
    source {checkout}/scripts/setup_system.sh
    source {checkout}/scripts/setup_packages.sh
    package_steps"""
    return subprocess.run(
        ['bash', '-c', script],
        env={'PATH': '/usr/bin:/bin', **variables},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


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
    shutil.copytree(ROOT / 'penguin_ros', checkout / 'penguin_ros', dirs_exist_ok=True)
    shutil.copytree(ROOT / 'resource', checkout / 'resource')
    shutil.copy(ROOT / 'LICENSE', checkout / 'LICENSE')
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
