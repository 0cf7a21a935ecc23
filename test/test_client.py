# SPDX-License-Identifier: Apache-2.0
"""Where ROS 2 or a library is missing, what Python programs and agents are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.blocked_libraries import environment_without

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
from penguin_ros.client import AsyncPenguin, Penguin
from penguin_ros.errors import LibraryUnusable
try:
    Penguin()
except LibraryUnusable as error:
    print('told:', error)
"""


def run(folder: Path, missing: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environment_without(folder, missing)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_ros_the_client_imports_and_says_what_to_do(tmp_path: Path) -> None:
    told = run(tmp_path, 'rclpy', '-c', PROGRAM)
    assert told.returncode == 0, told.stderr
    assert 'told: ROS 2 is not found' in told.stdout and 'scripts/setup' in told.stdout


def test_without_its_library_the_server_for_agents_says_what_to_install(tmp_path: Path) -> None:
    told = run(tmp_path, 'mcp', '-m', 'penguin_ros.cli.main', 'mcp')
    assert told.returncode == 2 and told.stdout == ''
    assert 'the library mcp' in told.stderr and 'Traceback' not in told.stderr
