# SPDX-License-Identifier: Apache-2.0
"""`penguin bench engine` and `penguin doctor` on TensorRT engines, on a fake GPU that runs their
graphs in ONNX Runtime.

This proves the way, not the speed: engines are found and run, graphs run beside them, and the copy
in the memory of the GPU is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

from support.bench_runs import agreement, bench, figures
from support.fake_gpu.bundles import tensorrt_bundle
from support.fake_gpu.installed import Machine, remove, use

from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.benchmark import machine as machine_module
from penguin_ros.benchmark.engine.rounds import run_here
from penguin_ros.cli import exit_codes
from penguin_ros.doctor.engine_checks import engine
from penguin_ros.doctor.finding import State
from penguin_ros.export.tensorrt.build import EngineOptions, build_engines

WORDS = ('--against', 'onnxruntime')


@pytest.fixture(scope='module', params=['10.16.2', '10.3.0'])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine whose TensorRT updates caches in place, and one whose TensorRT is too old for
    that.
    """
    made = Machine(request.param)
    use(made)
    yield made
    remove()


@pytest.fixture(scope='module')
def bundle(
    machine: Machine, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle with its engines."""
    folder = tensorrt_bundle(
        tiny_checkpoint, tmp_path_factory.mktemp('bundles') / 'orin', max_length=512
    )
    build_engines(folder, EngineOptions(max_rows=48, max_patches=1024, timing_cache=''))
    return folder


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, 'COPY_BYTES', 1 << 20)


def test_engines_agree_with_their_own_graphs_in_onnxruntime(
    machine: Machine, bundle: Path, tmp_path: Path
) -> None:
    code, record = bench(tmp_path, bundle, *WORDS, runner=run_here)
    found = agreement(record)
    assert code == exit_codes.DONE, record
    assert [target['facts']['name'] for target in record['sides']] == ['tensorrt', 'onnxruntime']
    assert min(found['features, worst frame'], found['logits, worst step']) > 0.99999
    assert found['top-1 agreement'] == 100
    ours = figures(record)
    assert (
        'cuda-bindings' in ours['memory bandwidth']['how'] and ours['memory bandwidth']['value'] > 0
    )
    assert 'numpy' in figures(record, 1)['memory bandwidth']['how']
    plans = sum(path.stat().st_size for path in (bundle / 'tensorrt').glob('*.plan'))
    assert ours['plans']['value'] * 1e6 == plans and 'plans' not in figures(record, 1)


def test_without_a_way_to_copy_the_bandwidth_is_not_measured_and_says_why(
    machine: Machine,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(size: int) -> Any:
        raise OSError('no such library')

    for name in ('_copy_with_cuda_bindings', '_copy_with_torch'):
        monkeypatch.setattr(machine_module, name, fail)
    code, record = bench(tmp_path, bundle, runner=run_here)
    bandwidth = figures(record)['memory bandwidth']
    assert code == exit_codes.DONE and bandwidth['value'] is None
    assert bandwidth['how'].startswith('not measured: ') and 'no such library' in bandwidth['how']
    assert (
        figures(record)['share of it, weights']['value'] is None
        and figures(record)['weights read']['value'] > 0
    )
    assert 'not measured' in capsys.readouterr().out


def test_engines_for_another_gpu_are_named_and_their_graphs_are_measured(
    machine: Machine, bundle: Path, tmp_path: Path
) -> None:
    machine.gpu.name = 'Another GPU'
    try:
        code, record = bench(tmp_path, bundle, *WORDS, runner=run_here)
    finally:
        machine.gpu.name = 'Fake Orin'
    assert code == exit_codes.FAILED
    assert (
        record['sides'][0]['error']['kind'] == 'BundleOutdated'
        and 'Another GPU' in record['sides'][0]['error']['why']
    )
    assert record['sides'][1]['figures']


def test_doctor_compares_the_engines_with_onnxruntime(machine: Machine, bundle: Path) -> None:
    found = {finding.topic: finding for finding in engine(str(bundle), runner=run_here)}
    assert found['engine'].state is State.OK and 'tensorrt on Fake Orin' in found['engine'].text
    state, text = found['agreement'].state, found['agreement'].text
    assert (
        state is State.OK
        and 'cosine of features 1.00000, of logits 1.00000' in text
        and 'in 8 of 8 steps' in text
    )


def test_doctor_finds_engines_that_compute_something_else(
    machine: Machine, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = TensorrtBackend.forward

    def turned(self: TensorrtBackend, *arguments: Any) -> np.ndarray:
        return -forward(self, *arguments)

    monkeypatch.setattr(TensorrtBackend, 'forward', turned)
    found = {finding.topic: finding for finding in engine(str(bundle), runner=run_here)}
    assert found['engine'].state is State.OK
    assert (
        found['agreement'].state is State.FAULT and 'more than rounding' in found['agreement'].text
    )
    assert f'penguin bench engine {bundle} --against onnxruntime' in found['agreement'].fix


def test_doctor_without_tensorrt_calls_it_a_fault_with_the_remedy(
    machine: Machine, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'tensorrt', None)
    (found,) = engine(str(bundle), runner=run_here)
    assert (
        found.topic == 'engine' and found.state is State.FAULT and 'python3-libnvinfer' in found.fix
    )
