# SPDX-License-Identifier: Apache-2.0
"""scripts/gazebo_test says what it is, and what it needs where it cannot run.

Running it takes root, minutes and a gigabyte.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'scripts' / 'gazebo_test'
NOBODY = '65534'


def test_help_is_the_scripts_own_description() -> None:
    done = subprocess.run([SCRIPT, '--help'], capture_output=True, text=True, timeout=20)
    assert (
        done.returncode == 0
        and 'gazebo_test [--worlds N]' in done.stdout
        and 'PENGUIN_GAZEBO' in done.stdout
    )
    assert '#' not in done.stdout


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which('setpriv') is None,
    reason='only root, with setpriv, becomes somebody else',
)
def test_without_root_it_says_so_and_does_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix='penguin_') as folder:
        root = Path(folder)
        root.chmod(0o777)
        copy = root / 'scripts' / 'gazebo_test'
        copy.parent.mkdir(mode=0o755)
        shutil.copy(SCRIPT, copy)
        done = subprocess.run(
            ['setpriv', f'--reuid={NOBODY}', '--clear-groups', 'bash', str(copy)],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            cwd='/',
        )
        assert done.returncode == 2 and 'root' in done.stderr and f'sudo {copy}' in done.stderr
        assert [path.name for path in root.iterdir()] == ['scripts']


def test_it_names_no_archive_but_asks_apt_for_the_machines_own() -> None:
    text = SCRIPT.read_text()
    assert re.search(r'https?://', text) is None and 'indextargets' in text
