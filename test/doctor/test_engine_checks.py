# SPDX-License-Identifier: Apache-2.0
"""What `penguin doctor` says of a bundle for ONNX Runtime, and when it leaves one alone. The
engines of TensorRT are checked in test/benchmark/engine/test_tensorrt.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

from support.bench_runs import onnx_bundle

from penguin_ros.benchmark import machine as machine_module
from penguin_ros.benchmark.engine.rounds import run_here
from penguin_ros.benchmark.engine.tasks import EngineTask, Round
from penguin_ros.benchmark.tasks import TargetError
from penguin_ros.cli.main import main
from penguin_ros.doctor import engine_checks
from penguin_ros.doctor.engine_checks import engine
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.testing.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope='module')
def bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_bundle(tiny_checkpoint, tmp_path_factory.mktemp('bundles') / 'int8', 'int8')


def by_topic(*arguments: str) -> dict[str, Finding]:
    return {finding.topic: finding for finding in engine(*arguments, runner=run_here)}


def untouched(task: EngineTask) -> Round:
    raise AssertionError('nothing may be run')


def test_a_bundle_answers_an_image_and_says_with_what_it_could_be_compared(bundle: Path) -> None:
    found = by_topic(str(bundle))
    assert found['engine'].state is State.OK and 'onnxruntime on cpu, int8' in found['engine'].text
    assert 'first token of an image' in found['engine'].text
    assert found['agreement'].state is State.NOTE and '--checkpoint' in found['agreement'].text


def test_with_the_checkpoint_it_is_compared_with_torch(
    bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    found = by_topic(str(bundle), str(tiny_checkpoint))
    assert found['agreement'].state is State.OK
    assert (
        'cosine of features 0.99' in found['agreement'].text
        and 'int8 against float32' in found['agreement'].text
    )
    other = write_random_checkpoint(tmp_path / 'other', seed=3)
    assert by_topic(str(bundle), str(other))['agreement'].state is State.FAULT


def test_a_target_that_does_not_run_is_said_and_the_engine_stays_ok(
    bundle: Path, tiny_checkpoint: Path
) -> None:
    def runner(task: EngineTask) -> Round:
        is_torch = task.target.source == str(tiny_checkpoint)
        return (
            Round(error=TargetError('BackendUnavailable', 'no torch', 'absent', 'pip'))
            if is_torch
            else run_here(task)
        )

    found = {
        finding.topic: finding for finding in engine(str(bundle), str(tiny_checkpoint), runner)
    }
    assert found['engine'].state is State.OK
    assert found['agreement'].state is State.NOTE and 'no torch: absent' in found['agreement'].text


def test_what_is_too_large_is_left_to_the_benchmark(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_checks, 'MOST_WEIGHT_BYTES', 1000)
    (found,) = engine(str(bundle), runner=untouched)
    assert found.state is State.NOTE and found.fix == f'penguin bench engine {bundle}'


def test_what_does_not_fit_into_free_memory_is_left_alone(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, 'available_bytes', lambda: 1000)
    (found,) = engine(str(bundle), runner=untouched)
    assert found.state is State.NOTE and 'memory' in found.text


def test_a_folder_that_is_no_bundle_is_left_to_the_check_of_bundles(tmp_path: Path) -> None:
    assert list(engine(str(tmp_path), runner=untouched)) == []


def test_doctor_brings_it_with_the_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(['doctor', '--seconds', '0', '--json', '--bundle', str(bundle)])
    found = {item['topic']: item for item in json.loads(capsys.readouterr().out)}
    assert found['bundle']['state'] == found['engine']['state'] == 'ok'
