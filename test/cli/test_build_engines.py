# SPDX-License-Identifier: Apache-2.0
"""`penguin build` for TensorRT on a fake GPU: engines at once, later, or elsewhere. The builder has
tests of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

from support.fake_gpu.installed import Machine, remove, use
from support.tensorrt_build_checks import build_here

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main

SIZES = ['--max-length', '272', '--max-rows', '32', '--max-patches', '64']


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Makes a machine with TensorRT and a GPU, with the user's cache in the folder of the test."""
    build_here(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    made = Machine('10.16.2')
    use(made)
    yield made
    remove()


def build(source: Path, *words: str) -> int:
    return main(['build', str(source), '--backend', 'tensorrt', '--precision', 'float32', *words])


def plans(folder: Path) -> dict[str, int]:
    """The engine files with their inodes."""
    return {path.name: path.stat().st_ino for path in (folder / 'tensorrt').glob('*.plan')}


def test_the_engines_come_with_the_bundle(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine
) -> None:
    assert build(tiny_checkpoint, *SIZES, '--out', 'b') == exit_codes.DONE
    assert open_bundle('b').manifest.backend == 'tensorrt'
    assert len(plans(tmp_path / 'b')) == 2
    record = json.loads((tmp_path / 'b' / 'tensorrt' / 'engines.json').read_text())
    assert record['tensorrt'] == '10.16.2' and len(record['engines']) == 2


def test_engines_that_fit_stay_when_the_bundle_is_built_again(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine
) -> None:
    build(tiny_checkpoint, *SIZES, '--out', 'b')
    before, built = plans(tmp_path / 'b'), len(machine.built)
    assert build(tiny_checkpoint, *SIZES, '--out', 'b') == exit_codes.DONE
    assert (plans(tmp_path / 'b'), len(machine.built)) == (before, built)
    assert build(tiny_checkpoint, *SIZES, '--out', 'b', '--force') == exit_codes.DONE
    assert len(machine.built) == built + 4


def test_a_bundle_of_graphs_gets_its_engines_where_it_will_run(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    remove()
    assert build(tiny_checkpoint, *SIZES, '--graphs-only', '--out', 'b') == exit_codes.DONE
    assert not (tmp_path / 'b' / 'tensorrt').exists()
    use(machine)
    assert build(tmp_path / 'b', *SIZES) == exit_codes.DONE
    assert len(plans(tmp_path / 'b')) == 2
    assert 'engines are built' in capsys.readouterr().out


def test_without_tensorrt_nothing_is_converted_and_both_ways_out_are_named(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'tensorrt', None)
    assert build(tiny_checkpoint, '--out', str(tmp_path / 'b')) == exit_codes.UNUSABLE
    shown = capsys.readouterr().err
    assert 'python3-libnvinfer' in shown and '--graphs-only' in shown
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_tensorrt_for_rtx_does_not_run_on_is_refused_before_anything_is_converted(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.library, machine.version = 'tensorrt_rtx', '1.7.1.116'
    machine.gpu.name, machine.gpu.compute = 'Fake H200', (9, 0)
    use(machine)
    assert build(tiny_checkpoint, *SIZES, '--out', 'b') == exit_codes.UNUSABLE
    shown = ' '.join(capsys.readouterr().err.split())
    assert 'TensorRT for RTX 1.7.1.116 does not run on Fake H200' in shown
    assert '8.6, 8.9, 12.0' in shown and '--graphs-only' in shown
    assert len(machine.built) == 1 and list(tmp_path.iterdir()) == []


def test_without_a_gpu_nothing_is_converted(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.gpu.is_present = False
    assert build(tiny_checkpoint, *SIZES, '--out', 'b') == exit_codes.UNUSABLE
    assert 'no CUDA device' in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_length_that_engines_cannot_have_is_refused_before_anything_is_converted(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(tiny_checkpoint, '--max-length', '1001', '--out', 'b') == exit_codes.UNUSABLE
    assert '--max-length 1008' in capsys.readouterr().err
    assert not (tmp_path / 'b').exists()


def test_when_no_engine_can_be_built_the_converted_bundle_stays_and_the_way_on_is_named(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.refuses = lambda model: 'no kernel for this'
    assert build(tiny_checkpoint, *SIZES, '--out', 'b') == exit_codes.UNUSABLE
    shown = ' '.join(capsys.readouterr().err.split())
    assert 'no kernel for this' in shown and plans(tmp_path / 'b') == {}
    assert 'to go on from there type: penguin build b --backend tensorrt' in shown
    assert {path.name for path in tmp_path.iterdir()} <= {'b', 'cache'}
    machine.refuses = lambda model: ''
    assert build(Path('b'), *SIZES) == exit_codes.DONE
    assert len(plans(tmp_path / 'b')) == 2


def test_when_new_engines_cannot_be_built_old_ones_that_fit_the_bundle_stay(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine
) -> None:
    build(tiny_checkpoint, *SIZES, '--out', 'b')
    before = plans(tmp_path / 'b')
    machine.refuses = lambda model: 'no kernel for this'
    assert build(tiny_checkpoint, *SIZES, '--force', '--out', 'b') == exit_codes.UNUSABLE
    assert plans(tmp_path / 'b') == before
    machine.refuses = lambda model: ''
    built = len(machine.built)
    assert build(Path('b'), *SIZES) == exit_codes.DONE and len(machine.built) == built


@pytest.mark.parametrize('backend', ['onnxruntime', 'tensorrt'])
def test_a_bundle_of_another_backend_is_no_checkpoint(
    tiny_checkpoint: Path, machine: Machine, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(['build', str(tiny_checkpoint), '--out', 'b'])
    assert main(['build', 'b', '--backend', backend]) == exit_codes.UNUSABLE
    assert 'b is a bundle for onnxruntime already' in capsys.readouterr().err
