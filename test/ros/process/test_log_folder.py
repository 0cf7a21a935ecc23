# SPDX-License-Identifier: Apache-2.0
"""Without a home that can be written to, ROS 2 still starts, and it is said where its logs go."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from penguin_ros.ros.process.log_folder import ensure_log_folder


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ('ROS_LOG_DIR', 'ROS_HOME', 'HOME'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))


@pytest.mark.parametrize('home', [None, '', '/nonexistent'])
def test_without_a_home_logs_go_to_a_temporary_folder(
    home: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if home is not None:
        monkeypatch.setenv('HOME', home)
    folder = ensure_log_folder()
    assert folder is not None and folder.is_dir() and tmp_path in folder.parents
    assert str(folder) in capsys.readouterr().err
    assert ensure_log_folder() is None  # said once


def test_a_home_is_left_to_rcl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    assert ensure_log_folder() is None


@pytest.mark.parametrize('variable', ['ROS_LOG_DIR', 'ROS_HOME'])
def test_a_folder_that_was_chosen_is_left(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    assert ensure_log_folder() is None


def test_a_session_starts_without_a_home(ros_domain: int, tmp_path: Path) -> None:
    program = (
        'from penguin_ros.ros.client.session import session\n'
        'with session("homeless") as found: print(found.node.get_name())'
    )
    import os

    result = subprocess.run(
        [sys.executable, '-c', program],
        env={**os.environ, 'TMPDIR': str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.stdout.startswith('homeless_'), result.stderr
    assert 'no home to write logs to' in result.stderr
