# SPDX-License-Identifier: Apache-2.0
"""`penguin score --calibration` on the included model and two scenes, and what becomes of the
temperature that it writes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='torch is not installed')

from penguin_ros.checkpoint.calibration import CALIBRATION, AnswerTemperatures
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main
from penguin_ros.errors import CheckpointConfigError

INCLUDED = Path(__file__).resolve().parents[2] / 'engines' / 'penguin_sim'


@pytest.mark.slow
def test_probabilities_are_judged_drawn_and_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('mujoco', reason='mujoco is not installed')
    pytest.importorskip('matplotlib', reason='matplotlib is not installed')
    diagram, fitted = tmp_path / 'diagram.png', tmp_path / CALIBRATION
    words = f'--scenes 2 --fit-scenes 2 --diagram {diagram} --fitted {fitted} --json'.split()
    code = main(['score', '--calibration', '--checkpoint', str(INCLUDED), *words])
    record = json.loads(capsys.readouterr().out)
    assert code == (exit_codes.DONE if record['is_reached'] else exit_codes.FAILED)
    choices = record['groups']['choices']
    assert choices['before']['count'] >= 5 and choices['before']['right'] > 0.6
    assert diagram.read_bytes().startswith(b'\x89PNG')
    assert json.loads(fitted.read_text()) == record['temperatures']


def test_scenes_are_not_used_both_for_fitting_and_for_judging(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ['--scenes', '99000', '--fit-scenes', '1001']
    code = main(['score', '--calibration', '--checkpoint', str(INCLUDED), *words])
    assert code == exit_codes.UNUSABLE and 'none is used for both' in capsys.readouterr().err


def test_temperatures_beside_the_weights_are_those_of_the_model_and_of_its_bundles(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    assert open_checkpoint(tiny_checkpoint).answer_temperatures == AnswerTemperatures()
    folder = tmp_path / 'model'
    shutil.copytree(tiny_checkpoint, folder)
    (folder / CALIBRATION).write_text('{"yes_no": 1.25, "choices": 0.5}')
    fitted = AnswerTemperatures(1.25, 0.5)
    checkpoint = open_checkpoint(folder)
    assert checkpoint.answer_temperatures == fitted
    assert checkpoint.digest == open_checkpoint(tiny_checkpoint).digest
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.bench_runs import onnx_bundle

    from penguin_ros.backends.base.bundle import open_bundle

    bundle = open_bundle(onnx_bundle(folder, tmp_path / 'bundle', 'float32'))
    assert bundle.answer_temperatures == fitted


@pytest.mark.parametrize('content', ['{"yes_no": 0, "choices": 1}', '{"yes_no": 1}', '[1]', '{'])
def test_malformed_temperatures_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, content: str
) -> None:
    folder = tmp_path / 'model'
    shutil.copytree(tiny_checkpoint, folder)
    (folder / CALIBRATION).write_text(content)
    with pytest.raises(CheckpointConfigError, match=CALIBRATION):
        _ = open_checkpoint(folder).answer_temperatures
