# SPDX-License-Identifier: Apache-2.0
"""A store survives that its writer is killed at any time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros.memory.limits import StoreLimits

SCRIPT = Path(__file__).parents[1] / 'support' / 'killed_writer.py'


def killed(folder: Path, kills: int, longest: float, commit_seconds: float) -> dict[str, float]:
    """What killed_writer.py found."""
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, str(kills), str(longest), str(commit_seconds)],
        env=os.environ | {'PYTHONPATH': os.pathsep.join([str(SCRIPT.parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_what_was_committed_survives_thirty_kills_and_the_store_is_whole(tmp_path: Path) -> None:
    found = killed(tmp_path / 'memory', 30, 0.12, 0.05)
    assert found['committed_and_lost'] == 0 and found['added'] > 30


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_was_committed_survives_a_thousand_kills(tmp_path: Path) -> None:
    found = killed(tmp_path / 'memory', 1000, 0.2, 0.05)
    print(found)
    assert found['committed_and_lost'] == 0 and found['added'] > 1000


@pytest.mark.slow
def test_no_more_than_the_last_second_is_lost(tmp_path: Path) -> None:
    found = killed(tmp_path / 'memory', 40, 4.0, StoreLimits().commit_seconds)
    print(found)
    assert found['oldest_lost_ms'] < 1000 and found['committed_and_lost'] == 0
