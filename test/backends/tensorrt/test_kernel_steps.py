# SPDX-License-Identifier: Apache-2.0
"""Decoding by own kernels beside engines: which passes run where, what the engines are then built
for, and what is said of it. The contract of backends has this pair as a kind of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

from support.backend_kinds import frame, run_to_end, tokens
from support.fake_gpu.cuda_bundles import kernel_steps_bundle, small_checkpoint, stand_ins
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.numpy_kernels import run_in_numpy

from penguin_ros.backends.base.backend import Branch, Chunk, FeatureSpan
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest
from penguin_ros.backends.tensorrt.engine_memory import bundle_plan
from penguin_ros.board_memory.memory_plan import Room
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.cli.main import main
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BuildRefused, BundleOutdated
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.cuda import kernel_files
from penguin_ros.export.precision import BuildChoice
from penguin_ros.export.tensorrt.build import EngineOptions, build_engines

OPTIONS = EngineOptions(max_rows=48, max_patches=256, timing_cache='')
CONFIG = ModelConfig(max_length=528, kv_slots=2, greedy_steps=4)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp('made') / 'checkpoint')


@pytest.fixture(scope='module')
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engines of TensorRT 10.3, whose caches grow, for decoding, and kernels beside them."""
    use(machine := Machine('10.3.0'))
    machine.gpu.executor = run_in_numpy
    made = kernel_steps_bundle(checkpoint, tmp_path_factory.mktemp('made') / 'b', 528, 'both')
    build_engines(made, OPTIONS)
    return made


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine('10.3.0')
    made.gpu.executor = run_in_numpy
    use(made)
    yield made
    remove()


def opened(bundle: Path, decode: str) -> TensorrtBackend:
    backend = TensorrtBackend(open_bundle(bundle), replace(CONFIG, decode=decode))
    backend.open()
    return backend


def everything(backend: TensorrtBackend) -> list[np.ndarray]:
    """Logits of a prompt with a picture, of tokens across the length at which rows move apart, of a
    draft and of branches; of a fork.
    """
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    slot, found = backend.new_slot(), []
    found.append(
        backend.forward(slot, Chunk(tokens(3, 250), (FeatureSpan(5, features, 0, 6),)), [-1])
    )
    for seed in range(9):
        found.append(backend.forward(slot, Chunk(tokens(seed, 1)), [-1]))
    found.append(backend.forward(slot, Chunk(tokens(9, 5)), range(5)))
    found += backend.forward_branches(slot, [Branch(tokens(n, 3), (0, 2)) for n in (4, 5)])
    run = backend.forward_greedy_run(slot, 7, 4)
    found.append(np.array([[each.logit for each in run]], np.float32))
    fork = backend.fork(slot, 200)
    found.append(backend.forward(fork, Chunk(tokens(6, 2)), [-1]))
    return found


def test_engines_and_kernels_write_the_same_on_one_cache(machine: Machine, bundle: Path) -> None:
    results = {}
    for decode in ('engines', 'kernels'):
        backend = opened(bundle, decode)
        results[decode] = everything(backend)
        results[decode, 'way'] = backend.description.way
        results[decode, 'ran'] = backend.description.ran
        counts = backend.stats().counts
        backend.close()
    assert counts['steps with CUDA graph'] >= 10 and counts['kernels from the bundle'] > 15
    assert not machine.gpu.blocks and not machine.gpu.graphs
    for ours, theirs in zip(results['kernels'], results['engines'], strict=True):
        assert np.linalg.norm(ours - theirs) <= 2e-2 * np.linalg.norm(theirs)
    assert 'decoding in own kernels for sm_87' in results['kernels', 'way']
    assert 'own kernels' not in results['engines', 'way']
    ran = [results[decode, 'ran'] for decode in ('engines', 'kernels')]
    assert ran == ['tensorrt', 'tensorrt with own kernels'], 'the evidence says which wrote'


def test_the_plan_of_memory_has_the_kernels_copy_of_the_weights_where_they_decode(
    bundle: Path,
) -> None:
    room, plans = Room(16 * 10**9, 15 * 10**9, True), {}
    found, engines = open_bundle(bundle), read_engine_manifest(bundle)
    for decode in ('engines', 'kernels', 'auto'):
        plan = bundle_plan(found, engines, replace(CONFIG, decode=decode), room)
        plans[decode] = {item.name: item.byte_count for item in plan.items}
    files = found.manifest.files
    table = found.manifest.table.file
    assert plans['kernels']['own kernels'] == files['network.bin'].bytes + files[table].bytes
    assert 'own kernels' not in plans['engines'] and plans['auto'] == plans['engines']
    assert plans['kernels']['decoder'] == plans['engines']['decoder']


def test_beside_kernels_engines_are_built_without_a_profile_for_one_row(
    machine: Machine,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path,
) -> None:
    monkeypatch.setattr(kernel_files, 'compile_ahead', stand_ins)
    monkeypatch.setattr('penguin_ros.cli.build_kernels.triton_folder', lambda: Path('here'))
    only = tmp_path / 'only'
    words = ['--backend', 'tensorrt', '--precision', 'float16', '--max-length', '528']
    build = ['build', str(checkpoint), *words, '--decode', 'kernels', '--target', 'sm_87']
    assert main([*build, '--graphs-only', '--out', str(only)]) == 0
    manifest = open_bundle(only, is_thorough=True).manifest
    assert '--decode kernels' in manifest.command and manifest.decode == 'kernels'
    assert not [name for name in manifest.files if 'encoder.' in name and name.endswith('cubin')]
    build_engines(only, OPTIONS)
    made, both = read_engine_manifest(only), read_engine_manifest(bundle)
    assert made is not None and both is not None
    alone, two = made.engine('decoder'), both.engine('decoder')
    assert alone is not None and two is not None
    assert [profile['rows'] for profile in alone.profiles] == [(1, 48, 48)]
    assert len(two.profiles) == 2 and 'decode=kernels' in alone.request
    backend = opened(only, 'auto')
    assert 'decoding in own kernels' in backend.description.way
    assert backend.description.greedy_steps == 4
    backend.close()
    with pytest.raises(BundleOutdated, match=r'do not decode.*--decode engines'):
        opened(only, 'engines')


def test_kernels_are_asked_for_in_vain_where_a_bundle_has_none(
    machine: Machine, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = BuildOrder(BuildChoice('tensorrt', 'float16'), 528)
    plain = build_bundle(open_checkpoint(checkpoint), tmp_path / 'plain', order)
    build_engines(plain, OPTIONS)
    with pytest.raises(BundleOutdated, match='no kernels to decode with'):
        opened(plain, 'kernels')
    assert not machine.gpu.blocks
    assert main(['build', str(plain), '--backend', 'tensorrt', '--decode', 'kernels']) != 0
    assert 'it has no kernels' in capsys.readouterr().err
    mixed = BuildOrder(BuildChoice('tensorrt', 'float16', vision='float32'), 528, decode='both')
    with pytest.raises(BuildRefused, match='do not run in float16 and float32'):
        build_bundle(open_checkpoint(checkpoint), tmp_path / 'mixed', mixed)
