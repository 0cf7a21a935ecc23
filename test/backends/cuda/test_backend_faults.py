# SPDX-License-Identifier: Apache-2.0
"""What goes wrong while the backend opens, runs and closes: each has its named error, and what is
allocated is freed.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.backend_kinds import frame, run_to_end, tokens
from support.fake_gpu.cuda_bundles import (
    CONFIG,
    computing_machine,
    cuda_bundle,
    opened,
    small_checkpoint,
)
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.memory import FakeGpu

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.cuda import kernel_memory
from penguin_ros.backends.cuda.backend import CudaBackend
from penguin_ros.board_facts import memory_facts
from penguin_ros.board_memory.memory_plan import Room
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import (
    BackendError,
    BackendUnavailable,
    BuildRefused,
    BundleCorrupt,
    BundleOutdated,
    CacheOverflow,
    DeviceLost,
    OutOfMemory,
)
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import BuildChoice
from penguin_ros.testing.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp('made') / 'checkpoint')


@pytest.fixture(scope='module')
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cuda_bundle(checkpoint, tmp_path_factory.mktemp('made') / 'bundle', targets=(80, 87))


@pytest.fixture
def own_bundle(checkpoint: Path, tmp_path: Path) -> Path:
    """A bundle that the test may damage."""
    return cuda_bundle(checkpoint, tmp_path / 'bundle')


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    yield computing_machine()
    remove()


def test_without_machine_code_for_this_gpu_its_driver_compiles_and_that_is_told(
    machine: Machine, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.gpu.compute = (8, 9)
    caplog.set_level(logging.INFO)
    backend = opened(machine, bundle)
    assert 'compiled here from PTX' in backend.description.way
    assert backend.stats().counts['kernels compiled here'] > 20
    backend.close()
    again = opened(machine, bundle)
    assert again.stats().counts['kernels compiled here'] == 0
    assert again.stats().counts['kernels compiled here before'] > 20
    again.close()
    assert 'no machine code for this GPU' in caplog.text


def test_a_gpu_that_nothing_in_the_bundle_runs_on_is_refused(
    machine: Machine, own_bundle: Path
) -> None:
    machine.gpu.compute = (7, 5)
    with pytest.raises(BackendUnavailable, match=r'it has 7\.5.*--target'):
        opened(machine, own_bundle)
    assert not machine.gpu.blocks


def test_a_changed_kernel_is_found_before_anything_is_loaded(
    machine: Machine, own_bundle: Path
) -> None:
    cubin = next((own_bundle / 'kernels' / 'sm_87').glob('*.cubin'))
    cubin.write_bytes(cubin.read_bytes() + b'.')
    with pytest.raises(BundleCorrupt, match=cubin.name):
        opened(machine, own_bundle)


def test_kernels_of_other_sources_are_refused_with_both_digests(
    machine: Machine, own_bundle: Path
) -> None:
    index = own_bundle / 'kernels' / 'kernels.json'
    plain = json.loads(index.read_text())
    index.write_text(json.dumps({**plain, 'sources': 'f' * 64}))
    use(machine)
    manifest = open_manifest(own_bundle)
    with pytest.raises(BundleOutdated, match='digest ffffffffffff, those here.*penguin build'):
        CudaBackend(manifest, CONFIG).open()


def open_manifest(bundle: Path):  # type: ignore[no-untyped-def]
    """Returns a bundle without looking at its files."""
    from penguin_ros.backends.base.bundle import Bundle, read_manifest

    return Bundle(bundle, read_manifest(bundle))


def test_memory_that_does_not_suffice_is_named_while_opening_and_all_of_it_freed(
    bundle: Path, machine: Machine
) -> None:
    whole = opened(machine, bundle)
    needed = machine.gpu.used_bytes
    whole.close()
    assert not machine.gpu.blocks
    for share in (0.02, 0.5, 0.99):
        small = computing_machine(FakeGpu(int(needed * share)))
        with pytest.raises(OutOfMemory, match=r'MB are free.*kv_slots'):
            opened(small, bundle)
        assert not small.gpu.blocks


def test_the_plan_of_memory_is_what_is_allocated_and_one_that_does_not_fit_is_refused(
    bundle: Path, machine: Machine
) -> None:
    facts = memory_facts()
    room = Room(facts.total, facts.available, True)
    plan = kernel_memory.bundle_plan(open_bundle(bundle), CONFIG, room)
    exact = ('weights', 'embedding table', 'KV slots', 'buffers', 'pinned')
    planned = sum(item.byte_count for item in plan.items if item.name in exact)
    backend = opened(machine, bundle)
    assert 0.98 * planned < machine.gpu.used_bytes < 1.02 * planned
    backend.close()
    machine.gpu.is_integrated, machine.gpu.total_bytes = False, 400_000_000
    with pytest.raises(OutOfMemory, match=r'would not fit.*runtime 0.55 GB.*--kv int8'):
        opened(machine, bundle)
    assert not machine.gpu.blocks


def test_memory_that_runs_out_while_frames_are_encoded_leaves_the_backend_usable(
    bundle: Path, machine: Machine
) -> None:
    backend = opened(machine, bundle)
    slot = backend.new_slot()
    expected = backend.forward(slot, Chunk(tokens(1, 5)), [-1])
    machine.gpu.total_bytes = machine.gpu.used_bytes
    with pytest.raises(OutOfMemory):
        run_to_end(backend.encode([frame(1)]))
    machine.gpu.total_bytes = 1 << 34
    assert run_to_end(backend.encode([frame(1)]))[0][0].tokens == 6
    backend.truncate(slot, 0)
    assert np.array_equal(backend.forward(slot, Chunk(tokens(1, 5)), [-1]), expected)
    backend.close()
    assert not machine.gpu.blocks


@pytest.mark.parametrize(('call', 'count'), [('cudaGraphLaunch', 1), ('cuLaunchKernel', 5)])
def test_a_launch_that_finds_no_memory_is_named_and_the_same_pass_runs_later(
    bundle: Path, machine: Machine, call: str, count: int
) -> None:
    backend = opened(machine, bundle)
    slot = backend.new_slot()
    expected = backend.forward_greedy(slot, Chunk(tokens(1, count)))
    backend.truncate(slot, 0)
    machine.gpu.planted[call] = 2
    with pytest.raises(OutOfMemory, match=f'no memory for {call}'):
        backend.forward_greedy(slot, Chunk(tokens(1, count)))
    assert not machine.gpu.planted and backend.slot_length(slot) == 0
    assert backend.forward_greedy(slot, Chunk(tokens(1, count))) == expected
    backend.close()
    assert not machine.gpu.blocks and not machine.gpu.graphs


def test_a_kernel_that_fails_loses_the_device_for_good(bundle: Path, machine: Machine) -> None:
    backend = opened(machine, bundle)
    slot = backend.new_slot()
    machine.gpu.fails_at, machine.gpu.fails_with = machine.gpu.kernels_run + 7, 719
    with pytest.raises(DeviceLost, match='GPU stopped.*respawn'):
        backend.forward(slot, Chunk(tokens(1, 5)), [-1])
    with pytest.raises(DeviceLost):
        backend.forward_greedy(slot, Chunk(tokens(1, 1)))
    assert backend.slot_length(slot) == 0
    backend.close()


def test_weights_that_are_no_numbers_give_a_logit_that_is_none(
    own_bundle: Path, machine: Machine
) -> None:
    index = json.loads((own_bundle / 'network.json').read_text())
    gain = index['llm.layers.1.input_layernorm.weight']
    with (own_bundle / 'network.bin').open('r+b') as file:
        file.seek(gain['offset'])
        file.write(np.full(1, np.nan, np.float32).tobytes())
    use(machine)
    backend = CudaBackend(open_manifest(own_bundle), CONFIG)
    backend.open()
    slot = backend.new_slot()
    assert math.isnan(backend.forward_greedy(slot, Chunk(tokens(1, 4))).logit)
    assert math.isnan(backend.forward_greedy(slot, Chunk(tokens(1, 1))).logit)
    assert not np.isfinite(backend.forward(slot, Chunk(tokens(1, 1)), [-1])).all()
    backend.close()


def test_no_position_beyond_the_slot_or_the_table_of_angles_is_written(
    bundle: Path, machine: Machine
) -> None:
    backend = opened(machine, bundle, replace(CONFIG, max_length=64))
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 60)))
    with pytest.raises(CacheOverflow, match='60 of at most 64'):
        backend.forward(slot, Chunk(tokens(1, 5)))
    assert np.isfinite(backend.forward(slot, Chunk(tokens(1, 4)), [-1])).all()
    backend.close()
    longer = opened(machine, bundle, replace(CONFIG, max_length=4096))
    assert longer.description.max_length == 96, 'the bundle has angles for no more'
    longer.close()


def test_two_processes_may_share_a_gpu_and_one_that_is_taken_is_named(
    bundle: Path, machine: Machine
) -> None:
    first, second = opened(machine, bundle), opened(machine, bundle)
    ids = tokens(1, 9)
    logits = [each.forward(each.new_slot(), Chunk(ids), [-1]) for each in (first, second)]
    assert np.array_equal(*logits)
    first.close()
    assert np.isfinite(second.forward(second.new_slot(), Chunk(ids), [-1])).all()
    second.close()
    machine.gpu.is_taken = True
    with pytest.raises(BackendUnavailable, match='taken by another process'):
        opened(machine, bundle)


def test_closing_in_the_middle_of_a_pass_and_of_an_encode_frees_all(
    bundle: Path, machine: Machine
) -> None:
    backend = opened(machine, bundle, replace(CONFIG, encode_patches=24))
    running = backend.encode([frame(1), frame(2)])
    for _ in range(3):
        next(running)
    session = backend._session
    assert session is not None
    kind = next(session.decoder._passes.common_kinds())
    session.decoder.graphs.run(kind, lambda: None)  # queued, and nobody waits for it
    backend.close()
    assert not machine.gpu.blocks and not machine.gpu.graphs
    with pytest.raises(BackendError, match='not open'):
        next(running)


def test_without_graphs_passes_are_queued_kernel_by_kernel_and_that_is_told(
    bundle: Path, machine: Machine
) -> None:
    usual = opened(machine, bundle)
    expected = usual.forward(usual.new_slot(), Chunk(tokens(1, 5)), [-1])
    usual.close()
    machine.gpu.can_capture = False
    backend = opened(machine, bundle)
    assert np.array_equal(backend.forward(backend.new_slot(), Chunk(tokens(1, 5)), [-1]), expected)
    stats = backend.stats()
    assert (
        'CUDA graphs are not used' in stats.slowdown and stats.counts['steps with CUDA graph'] == 0
    )
    backend.close()


def test_heads_that_the_kernels_do_not_have_are_refused_when_a_bundle_is_built(
    tmp_path: Path,
) -> None:
    odd = write_random_checkpoint(tmp_path / 'odd')
    with pytest.raises(BuildRefused, match='head_dim 24.*power of two'):
        build_bundle(
            open_checkpoint(odd), tmp_path / 'bundle', BuildOrder(BuildChoice('cuda', 'float16'))
        )
    mixed = BuildOrder(BuildChoice('cuda', 'float16', vision='float32'))
    with pytest.raises(BuildRefused, match='do not run in float16 and float32'):
        build_bundle(open_checkpoint(odd), tmp_path / 'bundle', mixed)


def test_nothing_is_allocated_after_opening_but_features(bundle: Path, machine: Machine) -> None:
    backend = opened(machine, bundle)
    features = run_to_end(backend.encode([frame(1)]))[0]
    before = machine.gpu.used_bytes
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 40)), range(40))
    for seed in range(4):
        backend.forward_greedy(slot, Chunk(tokens(seed, 1 + seed)))
    backend.fork(slot, 20)
    assert machine.gpu.used_bytes == before and features
    assert set(open_bundle(bundle).manifest.files) >= {'network.bin', 'kernels/kernels.json'}
    backend.close()
