# SPDX-License-Identifier: Apache-2.0
"""The cases of cameras as people have them, which lie outside the repository: each script judges by
its exit code.

They were written for earlier names of modules; see support/renamed_modules.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = REPOSITORY.parent / 'shared' / 'cases' / 'camera'
NOT_CASES = ('live.py', 'pixels.py')
SCRIPTS = sorted(path.name for path in CASES.glob('*.py') if path.name not in NOT_CASES)
SECONDS = 400

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    """The small model as a bundle, which loads fast."""
    target = tmp_path_factory.mktemp('bundle') / 'penguin_sim'
    command = [sys.executable, '-m', 'penguin_ros.cli.main', 'build', 'engines/penguin_sim']
    subprocess.run([*command, '--out', str(target)], cwd=REPOSITORY, check=True, timeout=SECONDS)
    return target


@pytest.mark.skipif(not SCRIPTS, reason=f'{CASES} is absent')
@pytest.mark.parametrize('script', SCRIPTS)
def test_a_case_ends_as_its_folder_says(script, bundle, ros_domain):
    path = [str(REPOSITORY / 'test' / 'support' / 'renamed_modules'), str(REPOSITORY)]
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([*path, os.environ.get('PYTHONPATH', '')]),
        'CASE_DOMAIN': str(ros_domain),
        'ROS_DOMAIN_ID': str(ros_domain),
        'PENGUIN_MODEL': str(bundle),
    }
    run = subprocess.run(
        [sys.executable, str(CASES / script)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
