# SPDX-License-Identifier: Apache-2.0
"""A newcomer's first `./scripts/demo`: it installs what the demo imports and no more, and captions
come out, with either installer and in odd environments.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.fresh_checkout import can_install, fresh_checkout, newcomers_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ONLY_FOR_TESTS = ('torch', 'transformers', 'mypy', 'ruff', 'hypothesis', 'matplotlib', 'rosbags')
LARGEST_MB = 750


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if not can_install():
        pytest.skip('no index of packages can be reached')
    return fresh_checkout(tmp_path)


def demo(checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the demo for half a minute and returns it with all its output."""
    return subprocess.run(
        [checkout / 'scripts' / 'demo', '--seconds', '45'],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='backslashreplace',
        timeout=3000,
        check=False,
    )


def check_venv(checkout: Path) -> None:
    """What only tests need is not there, and the size is as promised."""
    (packages,) = (checkout / '.venv' / 'lib').glob('python3*/site-packages')
    assert not [name for name in ONLY_FOR_TESTS if (packages / name).exists()]
    size = subprocess.run(
        ['du', '-sm', checkout / '.venv'], capture_output=True, text=True, check=True
    )
    assert int(size.stdout.split()[0]) <= LARGEST_MB


def test_with_uv_captions_come_and_a_second_start_builds_nothing(
    checkout: Path, tmp_path: Path
) -> None:
    environment = newcomers_environment(tmp_path, PENGUIN_INSTALLER='uv', TERM='xterm')
    first = demo(checkout, environment)
    assert first.returncode == 0, first.stdout
    assert re.search(r'(\d+) of \1 facts right', first.stdout)
    assert 'messages: penguin_msgs: done in' in first.stdout
    check_venv(checkout)
    second = demo(checkout, environment)
    assert second.returncode == 0, second.stdout
    assert 'done in' not in second.stdout


def test_with_pip_in_an_odd_environment_captions_come_too(checkout: Path, tmp_path: Path) -> None:
    foreign = tmp_path / 'foreign'
    for name in ('numpy', 'yaml', 'rclpy'):
        (foreign / name).mkdir(parents=True)
        (foreign / name / '__init__.py').write_text('raise ImportError("a foreign package")\n')
    environment = newcomers_environment(
        tmp_path,
        PENGUIN_INSTALLER='pip',
        LC_ALL='C',
        TERM='dumb',
        PYTHONPATH=str(foreign),
        PYTHONNOUSERSITE='1',
        CONDA_PREFIX=str(foreign),
    )
    del environment['HOME']
    result = demo(checkout, environment)
    assert result.returncode == 0, result.stdout
    assert re.search(r'(\d+) of \1 facts right', result.stdout)
    assert f'note: PYTHONPATH is set ({foreign})' in result.stdout
    assert '\033' not in result.stdout
    check_venv(checkout)
