# SPDX-License-Identifier: Apache-2.0
"""The progress of scripts/setup says what is being done, and of how much."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'


def call(script: str, folder: Path) -> str:
    """Runs a script that has sourced the functions of progress, with `folder` to work in."""
    head = f"""
    work={folder} stamps={folder}/stamps venv={folder}/venv
    declare -A titles advices fingerprints
    exec 3>&1
    source {SCRIPTS}/setup_progress.sh
    """
    result = subprocess.run(
        ['bash', '-c', head + script], capture_output=True, text=True, check=False, timeout=60
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ('log', 'said'),
    [
        ('', 'finding versions'),
        (
            'Collecting numpy==2.4.6\nCollecting rich\n  Downloading rich-15.whl (20 kB)\n',
            'fetching, 2 packages so far: rich-15.whl (20 kB)',
        ),
        ('Resolved 66 packages in 500ms\n', 'Resolved 66 packages in 500ms'),
        (
            'Resolved 66 packages in 1s\nDownloading onnxruntime (22.7MiB)\n Downloaded onnx\n'
            'Downloading mujoco (12.2MiB)\n',
            'fetching, 1 packages so far: mujoco (12.2MiB)',
        ),
        ('Prepared 44 packages in 1.38s\n', 'writing 44 packages'),
    ],
)
def test_packages_are_counted_by_what_the_installer_says(
    tmp_path: Path, log: str, said: str
) -> None:
    (tmp_path / 'log').write_text(log)
    assert call(f'package_progress {tmp_path}/log {tmp_path}/log', tmp_path) == said


def test_while_pip_writes_files_the_packages_that_arrived_are_counted(tmp_path: Path) -> None:
    site = tmp_path / 'venv' / 'lib' / 'python3.11' / 'site-packages'
    for name, time in (('old', 1000), ('a', 3000), ('b', 3000)):
        (site / f'{name}-1.dist-info').mkdir(parents=True)
        os.utime(site / f'{name}-1.dist-info', (time, time))
    (tmp_path / 'begin').touch()
    os.utime(tmp_path / 'begin', (2000, 2000))
    (tmp_path / 'log').write_text('Collecting a\nInstalling collected packages: a, b, c, d\n')
    said = call(f'package_progress {tmp_path}/log {tmp_path}/begin', tmp_path)
    assert said == 'writing 2 of 4 packages'


@pytest.mark.parametrize(
    ('log', 'said'),
    [
        ('-- Configuring\n', 'reading definitions'),
        ('[3/96] Building\n[34/96] Building C object x\nnote\n', '34 of 96 compiled'),
        ('[ 54%] Building C object x\n', '54% compiled'),
    ],
)
def test_compiled_files_are_counted(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / 'log').write_text(log)
    assert call(f'build_progress {tmp_path}/log', tmp_path) == said


STEPS = """
one() { echo of one; }
two() { sleep 0.3; }
bad() { echo of bad; return 3; }
long() { sleep 60; }
for step in one two bad long; do
  titles[$step]="step $step" advices[$step]="mend $step" fingerprints[$step]=1
done
"""


def test_steps_of_one_chain_follow_each_other_and_are_not_done_again(tmp_path: Path) -> None:
    output = call(
        f'{STEPS} set -e; run_chains "one two"; run_chains "one two"; ls $stamps', tmp_path
    )
    assert [line.split(':')[0].strip() for line in output.splitlines()] == [
        'step one',
        'step two',
        'one',
        'two',
    ]


def test_a_step_that_fails_ends_those_beside_it_and_shows_its_words(tmp_path: Path) -> None:
    output = call(f'{STEPS} set -e; run_chains long "one bad two"; echo not reached', tmp_path)
    assert 'set-up failed: step bad' in output and 'of bad' in output and 'type: mend bad' in output
    assert 'not reached' not in output
    assert not (tmp_path / 'stamps' / 'two').exists()
    assert (tmp_path / 'bad.log').exists()
