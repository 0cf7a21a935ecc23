# SPDX-License-Identifier: Apache-2.0
"""Building engines: which variant for which version, what is kept and what is replaced, and what is refused beforehand.

On a fake GPU with fake TensorRTs of several versions; test/tensorrt_wheels builds with a real builder.
"""
from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu.bundles import OPTIONS, opened, tensorrt_bundle
from fake_gpu.installed import Machine, remove, use

from penguin_ros.backends.base import Chunk
from penguin_ros.backends.bundle import open_bundle
from penguin_ros.backends.tensorrt_backend import TensorrtBackend
from penguin_ros.backends.tensorrt_record import FOLDER, RECORD, read_record
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.errors import (
    BackendUnavailable,
    BuildError,
    BuildRefused,
    BundleCorrupt,
    BundleNotFound,
    BundleOutdated,
    NotEnoughSpace,
)
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.tensorrt_build import build_engines

COMMAND = r'Type: penguin build .*bundle --backend tensorrt'


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine('10.16.2')
    use(made)
    yield made
    remove()


@pytest.fixture(scope='module')
def graphs(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle per precision, without engines."""
    folder = tmp_path_factory.mktemp('graphs')
    return {precision: tensorrt_bundle(tiny_checkpoint, folder / precision, precision, max_length=272)
            for precision in ('float32', 'float16', 'int4')}


@pytest.fixture
def bundle(graphs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(graphs['float32'], tmp_path / 'bundle'))


def files(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((bundle / FOLDER).iterdir())}


def runs(bundle: Path) -> np.ndarray:
    """Logits of the opened bundle."""
    backend = TensorrtBackend(open_bundle(bundle), ModelConfig(max_length=272))
    backend.open()
    try:
        return backend.forward(backend.new_slot(), Chunk(np.arange(20)), [-1])
    finally:
        backend.close()


def kinds(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.node}


# --- which variant --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(('version', 'expected'), [
    ('10.3.0', ('two_part', 'plain')), ('10.13.3.9', ('two_part', 'plain')), ('10.16.2.10', ('window', 'fused')),
    ('11.4.1.6', ('window', 'fused'))])
def test_the_variant_follows_from_what_the_library_can_do(bundle: Path, version: str, expected: tuple[str, str]) -> None:
    use(Machine(version))
    record = build_engines(bundle, OPTIONS)
    assert (record.tensorrt, record.gpu.name, record.gpu.compute) == (version, 'Fake Orin', '8.7')
    variants = {engine.part: (engine.variant, engine.is_decomposable) for engine in record.engines}
    assert variants == {'decoder': (expected[0], False), 'vision': (expected[1], False)}
    assert read_record(bundle) == record and runs(bundle).shape == (1, 640)
    remove()


def test_attention_without_a_kernel_is_taken_apart(bundle: Path, machine: Machine) -> None:
    def refuses(model: Any) -> str:
        marked = any(entry.name == 'TRT_decomposable' for node in model.graph.node for entry in node.attribute)
        return '' if marked else 'Attention operation was not supported by a dedicated kernel'

    machine.refuses = refuses
    record = build_engines(bundle, OPTIONS)
    assert [(engine.variant, engine.is_decomposable) for engine in record.engines] == [('window', True), ('fused', True)]
    assert all('not supported by a dedicated kernel' in engine.failures[0] for engine in record.engines)
    assert np.isfinite(runs(bundle)).all()


def test_where_no_fused_graph_builds_the_plain_ones_do(bundle: Path, machine: Machine) -> None:
    machine.refuses = lambda model: 'no' if 'Attention' in kinds(model) else ''
    record = build_engines(bundle, OPTIONS)
    assert [(engine.variant, len(engine.failures)) for engine in record.engines] == [('two_part', 2), ('plain', 2)]
    assert np.isfinite(runs(bundle)).all()


def test_when_nothing_builds_the_error_has_every_reason_and_nothing_is_left(bundle: Path, machine: Machine) -> None:
    machine.refuses = lambda model: f'no tactic for {len(model.graph.node)} nodes'
    with pytest.raises(BuildError) as caught:
        build_engines(bundle, OPTIONS)
    text = str(caught.value)
    assert text.count('no tactic for') == 3 and 'two_part' in text and 'decomposable' in text
    assert files(bundle) == {}
    with pytest.raises(BundleNotFound, match=COMMAND):
        runs(bundle)


@pytest.mark.parametrize(('precision', 'rows'), [('float32', [8]), ('float16', [8]), ('int4', [1])])
def test_float_weights_are_decoded_with_a_range_of_rows_so_that_they_are_stored_once(
        graphs: dict[str, Path], tmp_path: Path, machine: Machine, precision: str, rows: list[int]) -> None:
    folder = Path(shutil.copytree(graphs[precision], tmp_path / 'bundle'))
    decoder = build_engines(folder, OPTIONS).engine('decoder')
    assert decoder is not None and [decoder.profiles[0]['rows'][2]] == rows
    assert decoder.profiles[1]['rows'] == (rows[0] + 1, 48, 48)
    assert decoder.profiles[1]['length'] == (256, 272, 272)


def test_the_variant_can_be_chosen_unless_the_library_lacks_it(bundle: Path, machine: Machine) -> None:
    record = build_engines(bundle, replace(OPTIONS, variant='two_part'))
    assert [engine.variant for engine in record.engines] == ['two_part', 'plain']
    with pytest.raises(BuildRefused, match="variant 'old'"):
        build_engines(bundle, replace(OPTIONS, variant='old'))
    use(Machine('10.13.3'))
    with pytest.raises(BuildRefused, match=r'10.15 or later.*JetPack 7.2'):
        build_engines(bundle, replace(OPTIONS, variant='window'))


def test_a_plan_that_holds_its_weights_twice_is_not_taken(bundle: Path, machine: Machine,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    from penguin_ros.export import tensorrt_ladder
    monkeypatch.setattr(tensorrt_ladder, 'KERNEL_BYTES', 0)
    monkeypatch.setattr(tensorrt_ladder, 'weight_bytes', lambda model: 100_000)
    with pytest.raises(BuildError, match=r'too large: .* MB for 0.1 MB of weights'):
        build_engines(bundle, OPTIONS)
    assert files(bundle) == {}


def test_a_parser_that_loses_part_of_the_graph_is_not_trusted(graphs: dict[str, Path], machine: Machine) -> None:
    from penguin_ros.errors import BackendError
    from penguin_ros.export.tensorrt_ladder import check_network
    window = open_bundle(graphs['int4']).graph('decoder', 'window')
    names, layers = [tensor.name for tensor in window.inputs], {'DEQUANTIZE': window.quantised, 'KV_CACHE_UPDATE': 6}
    check_network(names, layers, window)
    for inputs, kinds, words in ((names[1:], layers, names[0]), (names, {**layers, 'DEQUANTIZE': 1}, 'DEQUANTIZE layers'),
                                 (names, {'DEQUANTIZE': window.quantised}, '6 of 6 KV_CACHE_UPDATE layers')):
        with pytest.raises(BackendError, match=words):
            check_network(inputs, kinds, window)


# --- what is kept, and what is stale --------------------------------------------------------------------------

def test_engines_that_fit_are_kept(bundle: Path, machine: Machine) -> None:
    first = build_engines(bundle, OPTIONS)
    built, before = len(machine.built), files(bundle)
    assert build_engines(bundle, OPTIONS) == first and len(machine.built) == built and files(bundle) == before
    build_engines(bundle, replace(OPTIONS, max_rows=24))
    assert len(machine.built) == built + 1, 'only the decoder depends on it'
    build_engines(bundle, replace(OPTIONS, max_rows=24, is_forced=True))
    assert len(machine.built) == built + 3


def other_version(machine: Machine, bundle: Path) -> str:
    use(replace(machine, version='11.4.1'))
    return r'built with TensorRT 10.16.2, here is 11.4.1'


def other_gpu(machine: Machine, bundle: Path) -> str:
    machine.gpu.name, machine.gpu.compute = 'Fake Thor', (11, 0)
    return r'built on Fake Orin \(SM 8.7\), here is Fake Thor \(SM 11.0\)'


def other_graph(machine: Machine, bundle: Path) -> str:
    rebuilt = bundle.with_name('rebuilt')
    checkpoint = json.loads((bundle / 'checkpoint.json').read_text())
    tensorrt_bundle(Path(checkpoint), rebuilt, max_length=256)
    shutil.copytree(bundle / FOLDER, rebuilt / FOLDER)
    shutil.rmtree(bundle)
    rebuilt.rename(bundle)
    return r'the graph of the vision has changed|the graph of the decoder has changed'


@pytest.mark.parametrize('change', [other_version, other_gpu, other_graph])
def test_a_stale_engine_is_refused_with_the_command_that_builds_it_again(change: Any, bundle: Path, machine: Machine,
                                                                         tiny_checkpoint: Path) -> None:
    (bundle / 'checkpoint.json').write_text(json.dumps(str(tiny_checkpoint)))
    build_engines(bundle, OPTIONS)
    reason = change(machine, bundle)
    with pytest.raises(BundleOutdated, match=f'({reason}).*{COMMAND}'):
        runs(bundle)
    build_engines(bundle, OPTIONS)
    assert np.isfinite(runs(bundle)).all()
    assert len(list((bundle / FOLDER).glob('*.plan'))) == 2, 'the old ones are gone'


def test_the_old_engines_stay_until_the_new_ones_have_loaded(bundle: Path, machine: Machine) -> None:
    build_engines(bundle, OPTIONS)
    before = files(bundle)
    newer = Machine('11.4.1', machine.gpu, refuses=lambda model: 'no' if 'pixel_patches' in {
        value.name for value in model.graph.input} else '')
    use(newer)
    with pytest.raises(BuildError, match='vision'):
        build_engines(bundle, OPTIONS)
    after = files(bundle)
    assert {name: after[name] for name in before} == before
    use(machine)
    assert np.isfinite(runs(bundle)).all()


def test_a_plan_that_does_not_load_replaces_nothing(bundle: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from fake_gpu.engine import Plan
    build_engines(bundle, OPTIONS)
    before = files(bundle)
    with monkeypatch.context() as patch:
        patch.setattr(Plan, 'to_bytes', lambda self: b'nothing that loads')
        with pytest.raises(Exception, match='does not load'):
            build_engines(bundle, replace(OPTIONS, is_forced=True))
    assert files(bundle) == before and np.isfinite(runs(bundle)).all()


@pytest.mark.parametrize('damage', ['truncated', 'changed', 'missing', 'record', 'record of another format'])
def test_a_damaged_engine_is_found_and_built_again(damage: str, bundle: Path, machine: Machine) -> None:
    build_engines(bundle, OPTIONS)
    plan, record = next((bundle / FOLDER).glob('decoder-*.plan')), bundle / FOLDER / RECORD
    content = plan.read_bytes()
    if damage.startswith('record'):
        record.write_text('{"format": 1, "engines": 3' if damage == 'record' else '{"format": 99}')
    elif damage == 'missing':
        plan.unlink()
    else:
        plan.write_bytes(content[:-7] if damage == 'truncated' else content[:-1] + b'?')
    with pytest.raises((BundleCorrupt, BundleOutdated), match=COMMAND):
        runs(bundle)
    build_engines(bundle, OPTIONS)
    assert np.isfinite(runs(bundle)).all()


def test_an_interrupted_build_leaves_what_was_there(bundle: Path, machine: Machine) -> None:
    build_engines(bundle, OPTIONS)
    before = files(bundle)

    def interrupt(stage: str, fraction: float) -> None:
        if fraction > 0 and stage.startswith('vision'):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engines(bundle, replace(OPTIONS, is_forced=True), interrupt)
    after = files(bundle)
    assert {name: after[name] for name in before if name.endswith('.plan')} == {
        name: content for name, content in before.items() if name.endswith('.plan')}
    assert not [name for name in after if name.endswith('.new')] and np.isfinite(runs(bundle)).all()


# --- progress, timing cache, memory ---------------------------------------------------------------------------

def test_progress_names_the_stage_and_rises(bundle: Path, machine: Machine) -> None:
    seen: list[tuple[str, float]] = []
    build_engines(bundle, OPTIONS, lambda stage, fraction: seen.append((stage, fraction)))
    assert [stage for stage, fraction in seen if fraction == 0] == ['decoder: window, decoding 1 to 8 rows', 'vision: fused']
    for stage in dict(seen):
        fractions = [fraction for name, fraction in seen if name == stage]
        assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) == 3


def test_the_timing_cache_is_kept_per_version_and_gpu_and_one_of_another_is_replaced(
        bundle: Path, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    options = replace(OPTIONS, timing_cache=None)
    build_engines(bundle, options)
    file = tmp_path / 'cache' / 'penguin_ros' / 'tensorrt-10.16.2-Fake-Orin-sm8.7.timing'
    assert file.read_bytes() == b'..', 'one addition per engine'
    build_engines(bundle, replace(options, is_forced=True))
    assert file.read_bytes() == b'....'
    file.write_bytes(b'other GPU')
    build_engines(bundle, replace(options, is_forced=True))
    assert file.read_bytes() == b'..'


@pytest.mark.parametrize('is_integrated', [True, False])
def test_too_little_memory_is_refused_before_building_with_the_numbers_and_the_remedy(
        bundle: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, is_integrated: bool) -> None:
    """On a Jetson it is the machine's that counts, elsewhere the GPU's."""
    from penguin_ros.export import tensorrt_memory
    machine.gpu.is_integrated = is_integrated
    machine.gpu.total_bytes = 400_000_000 if is_integrated else 500_000_000
    monkeypatch.setattr(tensorrt_memory, 'free_memory', lambda: 500_000_000 if is_integrated else 1)
    with pytest.raises(NotEnoughSpace, match=r'0\.\d\d GB of memory: 0\.50 GB are free.*multi-user.target.*cma=950M') as caught:
        build_engines(bundle, OPTIONS)
    assert caught.value.needed > caught.value.free == 500_000_000
    assert machine.built == [] and files(bundle) == {}


def test_the_need_of_memory_grows_with_the_largest_matrix(graphs: dict[str, Path]) -> None:
    """2048 x 151,936, whose trial took 1.07 GB on an Orin Nano; cut in two it takes half of that."""
    import onnx

    from penguin_ros.export.tensorrt_memory import BASE_BYTES, needed_bytes

    def needed(columns: int) -> int:
        model = onnx.ModelProto()
        tensor = model.graph.initializer.add(name='head', dims=[2048, columns])
        for key, value in (('location', 'x'), ('offset', '0'), ('length', str(2048 * columns))):
            tensor.external_data.add(key=key, value=value)
        return needed_bytes(model) - BASE_BYTES

    assert needed(151_936) - 2 * 2048 * 151_936 == pytest.approx(1.07e9, rel=0.02)
    assert needed(151_936) == pytest.approx(2 * needed(75_968))


# --- refused --------------------------------------------------------------------------------------------------

def test_a_bundle_for_another_backend_is_refused(tiny_checkpoint: Path, tmp_path: Path, machine: Machine) -> None:
    folder = build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'bundle', BuildOrder())
    with pytest.raises(BuildRefused, match=r'no graphs for TensorRT.*onnxruntime'):
        build_engines(folder, OPTIONS)


def test_a_length_that_leaves_caches_unaligned_is_refused_with_one_that_does_not(tiny_checkpoint: Path, tmp_path: Path,
                                                                                machine: Machine) -> None:
    folder = tensorrt_bundle(tiny_checkpoint, tmp_path / 'bundle', max_length=1000)
    with pytest.raises(BuildRefused, match='--max-length 1008'):
        build_engines(folder, OPTIONS)


@pytest.mark.parametrize('what', ['no GPU', 'TensorRT 8.6'])
def test_without_the_machine_for_it_nothing_is_built(what: str, bundle: Path) -> None:
    machine = Machine('8.6.1' if what == 'TensorRT 8.6' else '10.3.0')
    machine.gpu.is_present = False
    use(machine)
    with pytest.raises(BackendUnavailable, match='JetPack 6.2' if what == 'TensorRT 8.6' else 'no CUDA device'):
        build_engines(bundle, OPTIONS)
    remove()


def test_features_reach_the_decoder_in_its_format(tiny_checkpoint: Path, tmp_path: Path, machine: Machine) -> None:
    """An encoder in float32 before a decoder in float16."""
    from backends.backend_kinds import finished, frame

    from penguin_ros.backends.base import FeatureSpan
    from penguin_ros.export.precision import BuildChoice
    choice = BuildChoice('tensorrt', 'float16', vision='float32')
    folder = build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'bundle', BuildOrder(choice, max_length=64))
    backend = opened(machine, folder)
    features = finished(backend.encode([frame(1)]))[0][0]
    encoded, projected = (backend.read_features(features, stage) for stage in ('encoded', 'projected'))
    assert np.array_equal(projected, projected.astype(np.float16)) and not np.array_equal(encoded, encoded.astype(np.float16))
    logits = backend.forward(backend.new_slot(), Chunk(np.arange(9), (FeatureSpan(1, features, 0, 6),)), [-1])
    assert np.isfinite(logits).all()
    backend.close()
