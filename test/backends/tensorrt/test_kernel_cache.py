# SPDX-License-Identifier: Apache-2.0
"""Kernels that TensorRT for RTX compiles are kept beside the engine: the next start compiles
nothing, and a file that does not fit or cannot be written is no error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.backend_kinds import frame, run_to_end, tokens
from support.fake_gpu.bundles import opened, tensorrt_bundle
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.memory import FakeGpu
from support.tensorrt_backend_checks import decode

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.tensorrt.engine_manifest import FOLDER, KERNELS, read_engine_manifest
from penguin_ros.backends.tensorrt.library import RTX

pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

LENGTH = 272


def desktop(name: str = 'Fake card', version: str = '1.7.1.116') -> Machine:
    gpu = FakeGpu()
    gpu.name, gpu.compute, gpu.is_integrated = name, (8, 9), False
    machine = Machine(version, gpu, library=RTX)
    use(machine)
    return machine


@pytest.fixture(scope='module')
def built(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensorrt_bundle(tiny_checkpoint, tmp_path_factory.mktemp('bundles') / 'bundle')


@pytest.fixture
def bundle(built: Path) -> Iterator[Path]:
    """The bundle without kernels of an earlier test."""
    for path in (built / FOLDER).glob(f'*{KERNELS}'):
        path.unlink()
    yield built
    remove()


def run(machine: Machine, bundle: Path) -> list[tuple[str, str]]:
    """Opens, answers and closes; returns the kernels that were compiled meanwhile."""
    before = len(machine.gpu.compiled)
    backend = opened(machine, bundle, max_length=LENGTH)
    try:
        run_to_end(backend.encode([frame(1)]))
        slot = backend.new_slot()
        backend.forward(slot, Chunk(tokens(1, 20)))
        decode(backend, slot, 5)
    finally:
        backend.close()
    return machine.gpu.compiled[before:]


def kernel_files(bundle: Path) -> list[Path]:
    return sorted((bundle / FOLDER).glob(f'*{KERNELS}'))


def test_the_second_start_compiles_nothing(bundle: Path) -> None:
    assert run(desktop(), bundle)
    manifest = read_engine_manifest(bundle)
    assert manifest is not None
    engines = sorted(Path(engine.file).stem for engine in manifest.engines)
    assert [path.stem for path in kernel_files(bundle)] == engines
    assert run(desktop(), bundle) == []


def test_what_is_compiled_at_open_is_kept_before_the_process_ends(bundle: Path) -> None:
    """The process may be killed."""
    backend = opened(desktop(), bundle, max_length=LENGTH)
    kept = {path: path.read_bytes() for path in kernel_files(bundle)}
    assert len(kept) == 2 and any(b'inputs_embeds' in content for content in kept.values())
    backend.forward(backend.new_slot(), Chunk(tokens(1, 20)))
    backend.close()
    assert {path: path.read_bytes() for path in kernel_files(bundle)} != kept


def test_runs_that_are_captured_wait_for_their_kernels_and_others_do_not(bundle: Path) -> None:
    """A CUDA graph would keep the general kernels that run meanwhile."""
    compiled = run(desktop(), bundle)
    single = {strategy for kernel, strategy in compiled if 'inputs_embeds (1, 1,' in kernel}
    others = {strategy for kernel, strategy in compiled if 'inputs_embeds (1, 1,' not in kernel}
    assert single == {'EAGER'} and others == {'LAZY'}


@pytest.mark.parametrize('damage', ['empty', 'cut', 'changed'])
def test_a_damaged_file_is_not_handed_to_the_library_and_is_replaced(
    damage: str, bundle: Path
) -> None:
    expected = run(desktop(), bundle)
    for path in kernel_files(bundle):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes({'empty': b'', 'cut': content[:40], 'changed': bytes(content)}[damage])
    assert run(desktop(), bundle) == expected
    assert run(desktop(), bundle) == []


def test_kernels_of_another_card_of_the_same_engines_are_not_taken(bundle: Path) -> None:
    """Engines name the card; the file names it again, since it may be copied about."""
    run(desktop(), bundle)
    files = {path.name: path.read_bytes() for path in kernel_files(bundle)}
    other = desktop('Another card')
    assert run(other, bundle)  # builds engines of its own
    for path, content in zip(kernel_files(bundle), files.values(), strict=True):
        path.write_bytes(content)
    assert run(desktop('Another card'), bundle)


def test_new_engines_leave_no_kernels_of_old_ones(bundle: Path) -> None:
    run(desktop(), bundle)
    (bundle / FOLDER / f'decoder-0123456789ab{KERNELS}').write_bytes(b'old')
    run(desktop('Another card'), bundle)
    assert len(kernel_files(bundle)) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_that_cannot_be_written_is_no_error(bundle: Path) -> None:
    opened(desktop(), bundle, max_length=LENGTH).close()
    (bundle / FOLDER).chmod(0o500)
    try:
        assert run(desktop(), bundle)
    finally:
        (bundle / FOLDER).chmod(0o700)


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(desktop(), bundle, max_length=LENGTH).close()
    before = {path: path.read_bytes() for path in (bundle / FOLDER).iterdir()}

    def full(*arguments: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('penguin_ros.backends.tensorrt.kernel_cache.os.replace', full)
    assert run(desktop(), bundle)
    assert {path: path.read_bytes() for path in (bundle / FOLDER).iterdir()} == before


def test_plain_tensorrt_keeps_nothing(bundle: Path) -> None:
    machine = Machine('10.16.2')
    use(machine)
    assert run(machine, bundle) == [] and kernel_files(bundle) == []
