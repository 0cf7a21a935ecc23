# SPDX-License-Identifier: Apache-2.0
"""`penguin build --backend cuda`: for which GPUs kernels are compiled, anew and into a bundle that
is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.fake_gpu.cuda_bundles import small_checkpoint, stand_ins

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.cuda.kernel_set import read_kernel_set
from penguin_ros.cli.main import main
from penguin_ros.export.cuda import kernel_files


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(kernel_files, 'compile_ahead', stand_ins)
    monkeypatch.setattr('penguin_ros.cli.build_kernels.triton_folder', lambda: Path('here'))
    yield small_checkpoint(tmp_path / 'checkpoint')


def test_a_bundle_has_machine_code_for_the_targets_named_and_gets_more_later(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / 'bundle'
    named = ['--target', 'sm_87', '--target', '90', '--out', str(bundle)]
    assert main(['build', str(checkpoint), '--backend', 'cuda', *named]) == 0
    manifest = open_bundle(bundle).manifest
    assert (manifest.backend, manifest.precision.linears, manifest.graphs) == ('cuda', 'int4', ())
    assert '--target sm_87 --target sm_90' in manifest.command
    assert read_kernel_set(bundle).targets == [87, 90]
    weights = manifest.files['network.bin']
    assert main(['build', str(bundle), '--backend', 'cuda', '--target', 'sm_110']) == 0
    again = open_bundle(bundle, is_thorough=True).manifest
    assert read_kernel_set(bundle).targets == [87, 90, 110]
    assert again.files['network.bin'] == weights
    assert {'kernels/sm_110/one.qkv.cubin', 'kernels/sm_87/one.qkv.ptx'} <= set(again.files)
    assert 'kernels for sm_87, sm_90, sm_110' in capsys.readouterr().out


def test_without_a_target_any_later_gpu_compiles_the_ptx(checkpoint: Path, tmp_path: Path) -> None:
    bundle = tmp_path / 'bundle'
    assert main(['build', str(checkpoint), '--backend', 'cuda', '--out', str(bundle)]) == 0
    assert read_kernel_set(bundle).targets == [80]


def test_keys_and_values_in_int8_are_chosen_when_building_and_can_be_taken_back(
    checkpoint: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / 'bundle'
    build = ['build', str(checkpoint), '--backend', 'cuda']
    assert main([*build, '--kv', 'int8', '--out', str(bundle)]) == 0
    made = open_bundle(bundle).manifest
    assert made.precision.cache == 'int8' and '--kv int8' in made.command

    def kept() -> set[str]:
        entry = read_kernel_set(bundle).entry('one.attend')
        return {each.kind for each in entry.kernel.arguments if each.name == 'cache'}

    assert kept() == {'*i8'}
    assert main(['build', str(bundle), '--backend', 'cuda', '--target', 'sm_87']) == 0
    assert kept() == {'*i8'}
    assert main(['build', str(bundle), '--backend', 'cuda', '--kv', '16']) == 0
    again = open_bundle(bundle).manifest
    assert again.precision.cache == '' and kept() == {'*fp16'}
    assert again.files['network.bin'] == made.files['network.bin']


def test_targets_that_make_no_sense_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(['build', str(checkpoint), '--backend', 'cuda', '--target', 'sm_10'])
    assert 'none of sm_80, sm_87' in capsys.readouterr().err
    assert main(['build', str(checkpoint), '--target', 'sm_87']) != 0
    assert '--target with --backend onnxruntime' in capsys.readouterr().err
    assert main(['build', str(checkpoint), '--backend', 'cuda', '--block-size', '64']) != 0
    assert 'blocks of 64 are not for the kernels' in capsys.readouterr().err
    assert main(['build', str(checkpoint), '--backend', 'cuda', '--measure-range', 'a.mp4']) != 0
    assert 'is float32 in these kernels' in capsys.readouterr().err


def test_without_triton_the_way_to_it_is_told_before_anything_is_converted(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr('penguin_ros.cli.build_kernels.triton_folder', lambda: None)
    monkeypatch.setattr('penguin_ros.kernels.library.triton_folder', lambda: None)
    out = tmp_path / 'bundle'
    assert main(['build', str(checkpoint), '--backend', 'cuda', '--out', str(out)]) != 0
    assert 'Triton is not installed' in capsys.readouterr().err and not out.exists()
