# SPDX-License-Identifier: Apache-2.0
"""The training tool end to end, briefly: scenes are drawn, stages learnt, a checkpoint written, and
a run resumes exactly.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros.checkpoint.checkpoint import open_checkpoint

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'train_penguin_sim.py'
SCHEDULE = 'encoder:1,text:1,clips:2'
DEADLINE_S = 1200
"""For one run; two slow cores that do other work, too, took more than 280 s."""


@pytest.fixture(scope='module')
def can_draw() -> None:
    """Skips where MuJoCo cannot draw, or PyTorch or matplotlib is missing."""
    for module in ('torch', 'matplotlib', 'mujoco'):
        pytest.importorskip(module, reason=f'training needs {module}')
    from penguin_ros.errors import BackendUnavailable
    from penguin_ros.simulation.world import World

    try:
        World().close()
    except BackendUnavailable as error:
        pytest.skip(str(error))


def train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(TOOL),
            '--smoke',
            '600',
            '--device',
            'cpu',
            '--out',
            str(folder / 'model'),
            '--state',
            str(folder / 'model.state'),
            '--schedule',
            SCHEDULE,
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )


@pytest.mark.slow
@pytest.mark.timeout(3 * DEADLINE_S)
def test_a_short_run_leaves_a_checkpoint_scores_a_curve_and_a_state_that_another_run_goes_on_from(
    can_draw: None, tmp_path: Path
) -> None:
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    checkpoint = open_checkpoint(tmp_path / 'model')
    assert checkpoint.tokenizer.decode(checkpoint.tokenizer.encode_text('a red box')) == 'a red box'
    assert 'SCORES' in done.stderr and 'caption recall' in done.stderr
    assert (tmp_path / 'model.png').read_bytes().startswith(b'\x89PNG')
    assert (tmp_path / 'model.state').stat().st_size < 100e6
    before = (tmp_path / 'model' / 'model.safetensors').read_bytes()
    again = train(tmp_path, '--resume', '--schedule', SCHEDULE + ',clips:1')
    assert again.returncode == 0, again.stderr
    assert '5/5' in again.stderr and '1/5' not in again.stderr, 'only what was new is learnt'
    assert (tmp_path / 'model' / 'model.safetensors').read_bytes() != before


@pytest.mark.slow
@pytest.mark.timeout(3 * DEADLINE_S)
def test_the_same_seed_trains_the_same_weights_stopped_in_between_or_not(
    can_draw: None, tmp_path: Path
) -> None:
    for name in ('unbroken', 'broken'):
        (tmp_path / name).mkdir()
    assert train(tmp_path / 'unbroken').returncode == 0
    assert train(tmp_path / 'broken', '--stop-after', '2').returncode == 0
    assert train(tmp_path / 'broken', '--resume').returncode == 0
    weights = [
        (tmp_path / name / 'model' / 'model.safetensors').read_bytes()
        for name in ('unbroken', 'broken')
    ]
    assert weights[0] == weights[1]
