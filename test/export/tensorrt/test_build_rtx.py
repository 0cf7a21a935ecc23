# SPDX-License-Identifier: Apache-2.0
"""Engines of TensorRT for RTX on a fake GPU: built, run, never mixed up with those of plain
TensorRT, and not begun where the GPU does not run them.

test/tensorrt_wheels builds with the real library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.fake_gpu.bundles import OPTIONS, opened
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.memory import FakeGpu
from support.tensorrt_backend_checks import decode, decoder_of
from support.tensorrt_build_checks import COMMAND, files, kinds, runs

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.manifest import DECODER, ENCODER
from penguin_ros.backends.tensorrt.engine_manifest import FOLDER, MANIFEST, maker_of_engines
from penguin_ros.backends.tensorrt.library import PLAIN, RTX
from penguin_ros.errors import BackendUnavailable, BundleCorrupt, BundleOutdated, NotEnoughSpace
from penguin_ros.export.tensorrt.build import build_engines

ONE_LAYER = {'Add'}


def desktop(compute: tuple[int, int] = (8, 9), version: str = '1.7.1.116') -> Machine:
    """A PC with a card of its own and TensorRT for RTX, made current."""
    gpu = FakeGpu()
    gpu.name, gpu.compute, gpu.is_integrated = f'Fake card {compute}', compute, False
    machine = Machine(version, gpu, library=RTX)
    use(machine)
    return machine


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    remove()


def targets(bundle: Path) -> set[tuple[int, ...]]:
    """What the engines of a bundle were built for."""
    from support.fake_gpu.engine import BuiltEngine

    built = [BuiltEngine.of(path.read_bytes()) for path in (bundle / FOLDER).glob('*.plan')]
    return {one.targets for one in built if one is not None}


def test_engines_are_built_and_run_with_the_numbers_of_plain_tensorrt(bundle: Path) -> None:
    use(Machine('10.16.2'))
    build_engines(bundle, OPTIONS)
    expected = runs(bundle)
    desktop()
    manifest = build_engines(bundle, OPTIONS)
    assert {(engine.part, engine.variant) for engine in manifest.engines} == {
        (DECODER, 'window'),
        (ENCODER, 'fused'),
    }
    assert np.array_equal(runs(bundle), expected)


def test_decoding_is_captured_since_the_engine_takes_all_its_memory_from_the_backend(
    bundle: Path,
) -> None:
    backend = opened(desktop(), bundle, max_length=272)
    slot = backend.new_slot()
    backend.forward(slot, Chunk(np.arange(20)))
    decode(backend, slot, 5)
    counts = decoder_of(backend).graphs.counts
    backend.close()
    assert (counts.captured, counts.launched, counts.failure) == (
        2,
        5,
        '',
    )  # of 256 and 272 positions, at open


def test_engines_json_names_the_library(bundle: Path) -> None:
    desktop()
    build_engines(bundle, OPTIONS)
    record = json.loads((bundle / FOLDER / MANIFEST).read_text())
    assert (record['library'], record['tensorrt']) == (RTX, '1.7.1.116')
    assert maker_of_engines(bundle) == RTX


def plain() -> Machine:
    machine = Machine('10.16.2')
    use(machine)
    return machine


@pytest.mark.parametrize(
    ('before', 'after', 'words'),
    [
        (plain, desktop, 'built with TensorRT 10.16.2, here is TensorRT for RTX 1.7.1.116'),
        (desktop, plain, 'built with TensorRT for RTX 1.7.1.116, here is TensorRT 10.16.2'),
    ],
)
def test_engines_of_the_other_library_are_refused_with_the_command_that_builds_new_ones(
    before: Callable[[], Machine], after: Callable[[], Machine], words: str, bundle: Path
) -> None:
    before()
    build_engines(bundle, OPTIONS)
    old = set(files(bundle)) - {MANIFEST}
    after()
    with pytest.raises(BundleOutdated, match=f'{words}.*{COMMAND}'):
        runs(bundle)
    build_engines(bundle, OPTIONS)
    assert np.isfinite(runs(bundle)).all()
    assert not old & set(files(bundle)), 'the old ones are gone'


def test_another_version_of_the_same_library_is_another_library(bundle: Path) -> None:
    desktop(version='1.4.0.76')
    build_engines(bundle, OPTIONS)
    desktop(version='1.7.1.116')
    with pytest.raises(BundleOutdated, match='RTX 1.4.0.76, here is TensorRT for RTX 1.7.1.116'):
        runs(bundle)


def test_engines_from_before_there_were_two_are_those_of_plain_tensorrt(bundle: Path) -> None:
    plain()
    build_engines(bundle, OPTIONS)
    path = bundle / FOLDER / MANIFEST
    record = json.loads(path.read_text())
    assert record.pop('library') == PLAIN
    path.write_text(json.dumps(record))
    assert np.isfinite(runs(bundle)).all()
    path.write_text(json.dumps({**record, 'library': 'tensorflow'}))
    with pytest.raises(BundleCorrupt, match='tensorflow.*tensorrt_rtx'):
        runs(bundle)
    assert maker_of_engines(bundle) == ''


@pytest.mark.parametrize(('compute', 'number'), [((9, 0), '9.0'), ((8, 7), '8.7')])
def test_a_gpu_that_the_library_does_not_run_on_is_refused_before_anything_is_built(
    compute: tuple[int, int], number: str, bundle: Path
) -> None:
    machine = desktop(compute)
    with pytest.raises(BackendUnavailable) as caught:
        build_engines(bundle, OPTIONS)
    assert f'RTX 1.7.1.116 does not run on Fake card {compute}' in caught.value.what
    assert f'compute capability {number}' in caught.value.what
    assert 'builds for 7.5, 8.0, 8.6, 8.9, 12.0, 12.1' in caught.value.why
    assert 'The engine cannot run on this GPU' in caught.value.why, "the library's own words"
    assert 'torch' in caught.value.fix
    assert [kinds(model) for model in machine.built] == [ONE_LAYER]
    assert not (bundle / FOLDER).exists()


def test_the_list_is_that_of_the_installed_version(bundle: Path) -> None:
    desktop((9, 0), version='1.4.0.76')
    with pytest.raises(BackendUnavailable, match=r'builds for 7\.5, 8\.0, 8\.6, 8\.9, 12\.0;'):
        build_engines(bundle, OPTIONS)


@pytest.mark.parametrize(
    ('compute', 'target'), [((7, 5), (75,)), ((8, 6), (86,)), ((12, 1), (121,)), ((12, 5), ())]
)
def test_engines_are_built_for_the_own_gpu_or_for_all_newer_ones(
    compute: tuple[int, int], target: tuple[int, ...], bundle: Path
) -> None:
    desktop(compute)
    build_engines(bundle, OPTIONS)
    assert targets(bundle) == {target}
    assert np.isfinite(runs(bundle)).all()


def test_where_the_gpu_is_listed_and_the_engine_does_not_load_the_driver_is_named(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.fake_gpu.engine import BuiltEngine

    desktop()
    why = 'CUDA driver version is insufficient for CUDA runtime version'
    monkeypatch.setattr(BuiltEngine, 'refusal', lambda *arguments: why)
    with pytest.raises(BackendUnavailable, match=f'{why}.*nvidia-smi.*tensorrt-rtx-cu'):
        build_engines(bundle, OPTIONS)


def test_it_builds_in_the_memory_of_the_machine_and_not_in_that_of_the_card(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = desktop()
    from penguin_ros.export.tensorrt import memory_gate

    machine.gpu.total_bytes = 400_000_000
    build_engines(bundle, OPTIONS)
    monkeypatch.setattr(memory_gate, 'free_memory', lambda: 400_000_000)
    other = desktop()
    with pytest.raises(NotEnoughSpace, match='0.40 GB are free'):
        build_engines(bundle, replace(OPTIONS, is_forced=True))
    assert [kinds(model) for model in other.built] == [ONE_LAYER]


def test_the_library_counts_and_not_its_version_alone(bundle: Path) -> None:
    desktop()
    build_engines(bundle, OPTIONS)
    path = bundle / FOLDER / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), 'library': PLAIN}))
    with pytest.raises(BundleOutdated, match='with TensorRT 1.7.1.116, here is TensorRT for RTX'):
        runs(bundle)


@pytest.mark.parametrize('is_named', [True, False])
def test_it_gets_no_timing_cache(
    is_named: bool, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    desktop()
    file = tmp_path / 'named.timing'
    build_engines(bundle, replace(OPTIONS, timing_cache=str(file) if is_named else None))
    assert not file.exists() and not list(tmp_path.rglob('*.timing'))
