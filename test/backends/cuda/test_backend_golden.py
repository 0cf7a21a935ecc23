# SPDX-License-Identifier: Apache-2.0
"""`penguin build --backend cuda` and `penguin parity` on its bundle, on a fake GPU that computes
the kernels in numpy, and in Triton's interpreter: the reference's numbers at every step. In float32
the bounds are those of torch, 1e-5 and 1e-4, and every choice and every token is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.fake_gpu.cuda_bundles import computing_machine, cuda_bundle, stand_ins
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.interpreted import interpreting_gpu, short_passes
from support.kernel_runs import needs_triton
from support.slow_parts import sampled

from penguin_ros.cli.main import main
from penguin_ros.export.cuda import kernel_files
from penguin_ros.export.precision import BuildChoice


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(kernel_files, 'compile_ahead', stand_ins)
    monkeypatch.setattr('penguin_ros.cli.build_kernels.triton_folder', lambda: Path('here'))
    made = computing_machine()
    use(made)
    yield made
    remove()


@pytest.mark.parametrize('precision', sampled(['float32', 'float16', 'bfloat16'], ['float32']))
def test_what_penguin_build_makes_is_within_the_tolerance_of_the_reference(
    golden_dir: Path,
    tmp_path: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    bundle, table = tmp_path / 'bundle', tmp_path / 'parity.json'
    options = ['--backend', 'cuda', '--precision', precision, '--max-length', '2048']
    assert main(['build', str(golden_dir / 'checkpoint'), *options, '--out', str(bundle)]) == 0
    assert main(['parity', str(golden_dir), '--bundle', str(bundle), '--json', str(table)]) == 0
    results = json.loads(table.read_text())
    assert results['backend']['name'] == 'cuda' and results['is_passed'] is True


def test_a_kernel_that_fails_in_a_run_ends_the_command_with_the_reason(
    golden_dir: Path,
    tmp_path: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    bundle = cuda_bundle(golden_dir / 'checkpoint', tmp_path / 'bundle', max_length=2048)
    machine.gpu.fails_at, machine.gpu.fails_with = 300, 700
    assert main(['parity', str(golden_dir), '--bundle', str(bundle), '--case', 'text']) != 0
    said = ' '.join(capsys.readouterr().out.split())
    assert 'the GPU stopped' in said and 'respawn' in said and machine.gpu.lost == 700
    assert machine.gpu.kernels_run == 300, 'nothing was asked of the GPU after it'


CASES = ('text', 'image_small')
"""Short ones: the interpreter takes a millisecond for a program."""


@needs_triton
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_kernels_themselves_in_float32_give_the_reference_s_numbers(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    table, cases = tmp_path / 'parity.json', [word for name in CASES for word in ('--case', name)]
    bundle = cuda_bundle(
        golden_dir / 'checkpoint', tmp_path / 'bundle', BuildChoice('cuda', 'float32'), 2048
    )
    with interpreting_gpu(512 * 1024 * 1024) as gpu:
        use(Machine(gpu=gpu))
        short_passes(monkeypatch)
        words = ['--bundle', str(bundle), '--json', str(table)]
        assert main(['parity', str(golden_dir), *cases, *words]) == 0
        ran = set(gpu.executor.runs)  # type: ignore[attr-defined]
    remove()
    assert {'one.attend', 'many.attend', 'encoder.attend', 'encoder.project_2'} <= ran
    assert json.loads(table.read_text())['is_passed'] is True
