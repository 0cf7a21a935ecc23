# SPDX-License-Identifier: Apache-2.0
"""The files for containers: they pass hadolint, and each of their steps is a script of this
repository that works outside a container too. No image is built here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / 'docker').glob('Dockerfile.*'))
IGNORED = ('DL3006',)
"""DL3006 wants a tag on the base image, which is in the argument BASE."""


def instructions(path: Path) -> list[tuple[str, str]]:
    """Returns the instructions of a file with their words; none of them goes over several lines."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith('#')]
    return [(name, words) for name, _, words in (line.partition(' ') for line in lines)]


def test_there_is_one_for_a_pc_and_one_for_a_jetson() -> None:
    assert [path.suffix for path in FILES] == ['.jetson', '.x86_64']


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    hadolint = shutil.which('hadolint', path=str(Path(sys.prefix) / 'bin'))
    if hadolint is None:
        pytest.skip('there is no hadolint for this processor')
    ignored = [f'--ignore={rule}' for rule in IGNORED]
    result = subprocess.run([hadolint, *ignored, path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_each_step_is_a_program_of_this_repository(path: Path) -> None:
    found = instructions(path)
    steps = [words for name, words in found if name in ('RUN', 'ENTRYPOINT')]
    assert len(steps) == 2
    for step in steps:
        (program,) = re.findall(r'"([^"]+)"', step)
        program = program.removeprefix('/opt/penguin_ros/')
        assert (ROOT / program).stat().st_mode & 0o111, program
    (base,) = (words for name, words in found if name == 'ARG')
    assert re.fullmatch(r'BASE=[\w./-]+:[\w.-]+', base)


def test_what_was_built_outside_does_not_get_into_an_image() -> None:
    ignored = (ROOT / '.dockerignore').read_text().split()
    assert {'.git', '.venv', 'build', 'install', 'log'} <= set(ignored)


@pytest.mark.skipif(
    'ROS_DISTRO' in os.environ and not Path('/opt/ros').is_dir(),
    reason='the ROS 2 that is sourced here does not lie where images have it',
)
def test_the_entry_point_gives_a_command_this_environment() -> None:
    program = 'import penguin_msgs.msg, penguin_ros, sys; print(sys.argv[1:])'
    result = subprocess.run(
        [ROOT / 'docker' / 'entrypoint', 'python', '-c', program, 'two words', 'x'],
        env={'PATH': '/usr/bin:/bin', 'HOME': '/root'},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.stdout == "['two words', 'x']\n", result.stderr


def test_an_installed_ros_is_sourced_where_images_have_it(tmp_path: Path) -> None:
    script = (ROOT / 'docker' / 'source_ros.sh').read_text().replace('/opt/ros', str(tmp_path))
    (tmp_path / 'humble' / 'install').mkdir(parents=True)
    (tmp_path / 'humble' / 'install' / 'setup.bash').write_text('export AMENT_PREFIX_PATH=built')
    for variables in ({}, {'ROS_DISTRO': 'humble'}):
        result = subprocess.run(
            ['bash', '-euc', f'{script}\necho "$AMENT_PREFIX_PATH"'],
            env={'PATH': '/usr/bin:/bin', **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout == 'built\n'
