# SPDX-License-Identifier: Apache-2.0
"""The runtime loop of the TensorRT backend on a strict fake GPU: lengths, profiles, graphs, memory, and what is refused.

The numbers come from ONNX Runtime; torch on the same checkpoint says what they must be. `test_contract*.py` holds the backend to
what every backend promises.
"""
from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

from backends.backend_kinds import finished, frame, piece, prompt, tokens
from fake_gpu.bundles import MAX_LENGTH, opened, tensorrt_bundle
from fake_gpu.installed import Machine, remove, use

from penguin_ros.backends.base import Backend, Chunk
from penguin_ros.backends.bundle import open_bundle
from penguin_ros.backends.tensorrt_backend import TensorrtBackend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, BackendUnavailable, CacheOverflow, OutOfMemory

VERSIONS = {'window': '10.16.2', 'two_part': '10.3.0'}


@pytest.fixture(scope='module', params=VERSIONS)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One that updates caches in place, and one that is too old for it."""
    yield Machine(VERSIONS[request.param])
    remove()


@pytest.fixture(scope='module')
def bundle(machine: Machine, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensorrt_bundle(tiny_checkpoint, tmp_path_factory.mktemp('bundles') / 'bundle')


@pytest.fixture
def backend(machine: Machine, bundle: Path) -> Iterator[TensorrtBackend]:
    made = opened(machine, bundle)
    yield made
    made.close()


@pytest.fixture
def torch_backend(tiny_checkpoint: Path) -> Iterator[Backend]:
    """What the numbers must be."""
    pytest.importorskip('torch', reason='torch is not installed')
    from penguin_ros.backends.torch_backend import TorchBackend
    made = TorchBackend(open_checkpoint(tiny_checkpoint), ModelConfig(device='cpu', precision='float32', max_length=MAX_LENGTH))
    made.open()
    yield made
    made.close()


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    """Row by row; only rounding may differ."""
    assert got.shape == expected.shape
    assert (np.linalg.norm(got - expected, axis=-1) < 1e-4 * np.linalg.norm(expected, axis=-1)).all()


def decoder_of(backend: TensorrtBackend) -> Any:
    assert backend._session is not None
    return backend._session.decoder


def greedy(backend: Backend, count: int, prompt_seed: int = 3, length: int = 31) -> tuple[list[int], np.ndarray]:
    """A prompt of `length` positions with pictures, and `count` greedy tokens with their logits."""
    ids, spans = prompt(backend)
    slot, found, rows = backend.new_slot(), [], []
    extra = tokens(prompt_seed, length - 31)
    logits = backend.forward(slot, Chunk(np.concatenate((ids, extra)), spans), [-1])[0]
    for _ in range(count):
        rows.append(logits)
        found.append(int(logits.argmax()))
        logits = backend.forward(slot, Chunk(np.array(found[-1:])), [-1])[0]
    backend.free_slot(slot)
    return found, np.stack(rows)


@pytest.mark.parametrize(('length', 'count'), [(31, 20), (240, 40), (500, 30)])
def test_tokens_and_logits_are_those_of_torch_across_buckets(backend: TensorrtBackend, torch_backend: Backend, length: int,
                                                             count: int) -> None:
    ours, logits = greedy(backend, count, length=length)
    theirs, expected = greedy(torch_backend, count, length=length)
    assert_close(logits, expected)
    assert ours == theirs


def test_features_are_those_of_torch(backend: TensorrtBackend, torch_backend: Backend) -> None:
    for picture in (frame(1), frame(2, 9, 6, 3), frame(3, 5, 3, 1), frame(4, 16, 16)):
        ours, theirs = (finished(each.encode([picture]))[0][0] for each in (backend, torch_backend))
        for stage in ('encoded', 'projected'):
            assert_close(backend.read_features(ours, stage), torch_backend.read_features(theirs, stage))


def test_a_whole_slot_is_filled_and_not_one_position_more(backend: TensorrtBackend, torch_backend: Backend) -> None:
    ids, slot, other = tokens(5, MAX_LENGTH), backend.new_slot(), torch_backend.new_slot()
    for each, number in ((backend, slot), (torch_backend, other)):
        each.forward(number, Chunk(ids[:-2]))
    assert_close(backend.forward(slot, Chunk(ids[-2:]), [0, 1]), torch_backend.forward(other, Chunk(ids[-2:]), [0, 1]))
    with pytest.raises(CacheOverflow, match=f'holds {MAX_LENGTH} of at most {MAX_LENGTH}'):
        backend.forward(slot, Chunk(tokens(1, 1)))


def test_the_decoder_itself_refuses_a_write_past_the_end(backend: TensorrtBackend) -> None:
    with pytest.raises(CacheOverflow, match='past the end'):
        decoder_of(backend).append(0, MAX_LENGTH - 1, tokens(1, 2), [], [])


# --- buckets and graphs ---------------------------------------------------------------------------------------

def decode(backend: TensorrtBackend, slot: int, count: int) -> None:
    for token_id in tokens(8, count):
        backend.forward(slot, Chunk(np.array([token_id])), [-1])


def test_each_bucket_is_captured_once_and_launched_from_then_on(backend: TensorrtBackend) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 250)))
    counts = decoder_of(backend).graphs.counts
    decode(backend, slot, 6)   # positions 250 .. 255: the first bucket
    assert (counts.plain, counts.captured, counts.launched) == (1, 1, 5)
    decode(backend, slot, 10)  # the second
    assert (counts.plain, counts.captured, counts.launched) == (2, 2, 14)
    backend.truncate(slot, 100)
    decode(backend, slot, 5)   # the first again, or with a cache whose pitch has grown the second
    assert (counts.plain, counts.captured, counts.launched) == (2, 2, 19)
    assert counts.failure == ''


def test_every_slot_has_graphs_of_its_own(backend: TensorrtBackend) -> None:
    slots = [backend.new_slot() for _ in range(3)]
    expected = []
    for slot in slots:
        backend.forward(slot, Chunk(tokens(slot, 40)))
    for step in range(4):
        for slot in slots:
            logits = backend.forward(slot, Chunk(tokens(slot + step, 1)), [0])[0]
            if step == 3:
                expected.append((slot, logits))
    assert decoder_of(backend).graphs.counts.captured == 3
    for slot, logits in expected:
        backend.truncate(slot, 0)
        backend.forward(slot, Chunk(tokens(slot, 40)))
        ids = np.concatenate([tokens(slot + step, 1) for step in range(4)])
        assert_close(backend.forward(slot, Chunk(ids), [3])[0], logits)


def test_without_captures_every_step_is_queued_and_the_reason_kept(machine: Machine, bundle: Path) -> None:
    machine.gpu.can_capture = False
    backend = opened(machine, bundle)
    try:
        slot = backend.new_slot()
        backend.forward(slot, Chunk(tokens(1, 30)))
        decode(backend, slot, 5)
        counts = decoder_of(backend).graphs.counts
        assert (counts.plain, counts.captured, counts.launched) == (5, 0, 0)
        assert 'CaptureUnsupported' in counts.failure
    finally:
        backend.close()
        machine.gpu.can_capture = True


def test_the_number_of_graphs_is_bounded(backend: TensorrtBackend) -> None:
    graphs, machine_graphs = decoder_of(backend).graphs, len(decoder_of(backend)._device._allocated)
    graphs._limit = 2
    slots = [backend.new_slot() for _ in range(3)]
    for _ in range(4):
        for slot in slots:
            decode(backend, slot, 3)
    assert len(graphs._entries) == 2 and graphs.counts.dropped > 0
    assert len(decoder_of(backend)._device._allocated) == machine_graphs + 2


# --- profiles and chunks --------------------------------------------------------------------------------------

@pytest.mark.parametrize('count', [1, 2, 8, 9, 47, 48, 49, 97, 300])
def test_a_chunk_of_any_length_runs_in_parts_that_fit_the_profiles(backend: TensorrtBackend, torch_backend: Backend,
                                                                   count: int) -> None:
    results = []
    for each in (backend, torch_backend):
        slot = each.new_slot()
        each.forward(slot, Chunk(tokens(2, 7)))
        results.append(each.forward(slot, Chunk(tokens(count, count)), range(count)))
        each.free_slot(slot)
    assert_close(*results)


def test_features_are_split_between_parts_of_a_chunk(backend: TensorrtBackend) -> None:
    """A picture of 64 tokens, more than one run takes, at an odd place."""
    from penguin_ros.backends.base import FeatureSpan
    features = finished(backend.encode([frame(1, 16, 16)]))[0][0]
    ids, spans = tokens(1, 110), (FeatureSpan(20, features, 0, 64), FeatureSpan(90, features, 3, 9))
    slot = backend.new_slot()
    whole = backend.forward(slot, Chunk(ids, spans), [-1])[0]
    for size in (1, 17, 48):
        backend.truncate(slot, 0)
        for start in range(0, 110, size):
            logits = backend.forward(slot, piece(ids, spans, start, min(start + size, 110)), [-1])[0]
        assert_close(logits, whole)


def test_a_frame_that_the_engine_is_too_small_for_is_refused_with_the_way_out(backend: TensorrtBackend) -> None:
    with pytest.raises(BackendError, match=r'272 patches: the engine takes 256.*--max-patches'):
        backend.encode([frame(1), frame(2, 16, 17, 1)])
    with pytest.raises(BackendError, match='merge size 5'):
        backend.encode([frame(2, 5, 5, 5)])


# --- memory ---------------------------------------------------------------------------------------------------

def test_close_gives_back_all_memory(machine: Machine, bundle: Path) -> None:
    before = machine.gpu.used_bytes
    for _ in range(2):
        backend = opened(machine, bundle)
        features = finished(backend.encode([frame(1), frame(2)]))[0]
        decode(backend, backend.new_slot(), 5)
        assert machine.gpu.used_bytes > before
        backend.close()
        del features
        assert machine.gpu.used_bytes == before and not machine.gpu.graphs


def test_features_that_nobody_holds_make_room_for_others(backend: TensorrtBackend, machine: Machine) -> None:
    finished(backend.encode([frame(1)]))
    gc.collect()
    used = machine.gpu.used_bytes
    for seed in range(20):
        finished(backend.encode([frame(seed)]))
    assert machine.gpu.used_bytes == used
    held = finished(backend.encode([frame(1), frame(2)]))[0]
    assert machine.gpu.used_bytes > used and held


def test_too_little_memory_is_an_error_with_the_numbers_and_leaves_nothing_behind(machine: Machine, bundle: Path) -> None:
    opened(machine, bundle).close()
    before, total = machine.gpu.used_bytes, machine.gpu.total_bytes
    made = TensorrtBackend(open_bundle(bundle), ModelConfig(max_length=MAX_LENGTH, kv_slots=40))
    machine.gpu.total_bytes = before + 20_000_000
    try:
        with pytest.raises(OutOfMemory, match=r'no room for .* MB: .* are free.*kv_slots'):
            made.open()
    finally:
        machine.gpu.total_bytes = total
    assert machine.gpu.used_bytes == before
    with pytest.raises(BackendError, match='not open'):
        made.new_slot()
    made.open()
    made.close()


def poisoned(backend: TensorrtBackend) -> Chunk:
    """A chunk that leaves NaN in the cache: its visual features are infinite."""
    from penguin_ros.backends.base import FeatureSpan
    features: Any = finished(backend.encode([frame(1)]))[0][0]
    assert backend._session is not None
    row = backend._session.encoder.token_bytes['image_embeds']
    # The fake GPU refuses NaN in inputs; infinity passes and becomes NaN in the first norm.
    infinite = np.full(6 * row // 4, np.inf, np.float32)
    machine_gpu = decoder_of(backend)._device
    buffer = machine_gpu.allocate_host(infinite.nbytes)
    buffer.view(np.dtype(np.float32), infinite.shape)[...] = infinite
    machine_gpu.copy(features.projected_address, buffer.address, infinite.nbytes)
    return Chunk(tokens(1, 20), (FeatureSpan(2, features, 0, 6),))


def test_logits_that_are_no_numbers_are_seen_although_the_device_chooses(backend: TensorrtBackend) -> None:
    assert not np.isfinite(backend.forward_best(backend.new_slot(), poisoned(backend)).logit)
    fresh = backend.new_slot()
    assert np.isfinite(backend.forward_best(fresh, Chunk(tokens(1, 1))).logit)


def freed(backend: TensorrtBackend, slot: int) -> int:
    """The next request gets the same place."""
    backend.free_slot(slot)
    return backend.new_slot()


def truncated(backend: TensorrtBackend, slot: int) -> int:
    backend.truncate(slot, 5)
    return slot


def forked_into(backend: TensorrtBackend, slot: int) -> int:
    """Another request's first five positions are copied over it."""
    other = backend.new_slot()
    backend.forward(other, Chunk(tokens(1, 9)))
    backend.free_slot(slot)
    return backend.fork(other, 5)


@pytest.mark.parametrize('more', [0, 30, 280, 600])
@pytest.mark.parametrize('how', [freed, truncated, forked_into])
def test_numbers_that_are_none_do_not_outlive_their_request(backend: TensorrtBackend, how: Callable[..., int], more: int) -> None:
    """Masked positions count zero times their value, so NaN behind the end of a slot would spoil whoever has it next."""
    slot, ids = backend.new_slot(), tokens(1, 9)
    expected = backend.forward(slot, Chunk(ids), [-1])[0]
    backend.forward(slot, poisoned(backend))
    if more:
        assert np.isnan(backend.forward(slot, Chunk(tokens(3, more)), [-1])).all()
    slot = how(backend, slot)
    logits = backend.forward(slot, Chunk(ids[backend.slot_length(slot):]), [-1])[0]
    assert_close(logits, expected)
    longer = backend.forward(slot, Chunk(tokens(4, 400)), [-1])[0]
    fresh = backend.new_slot()
    backend.forward(fresh, Chunk(ids))
    assert_close(longer, backend.forward(fresh, Chunk(tokens(4, 400)), [-1])[0])


def test_a_prompt_in_chunks_zeroes_nothing_twice(backend: TensorrtBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a slot that only grows is as finite as it was."""
    decoder, zeroed = decoder_of(backend), []
    zero = decoder._device.zero_rows
    monkeypatch.setattr(decoder._device, 'zero_rows', lambda grid, size, rows: (zeroed.append(size), zero(grid, size, rows)))
    slot = backend.new_slot()
    for start in range(0, 900, 100):
        backend.forward(slot, Chunk(tokens(start, 100)))
    position = decoder.cache.shape.position_bytes
    assert sum(zeroed) <= (0 if decoder.sizes.is_in_place else 3 * 256 * position)
    before = len(zeroed)
    backend.free_slot(slot)
    backend.forward(backend.new_slot(), Chunk(tokens(1, 9)))
    assert zeroed[before:] == [900 * position] or not decoder.sizes.is_in_place


def test_a_failed_run_leaves_the_slot_as_it_was(backend: TensorrtBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    from penguin_ros.backends.tensorrt_engine import Context
    slot, ids = backend.new_slot(), tokens(1, 9)
    backend.forward(slot, Chunk(ids[:5]))
    with monkeypatch.context() as patch:
        patch.setattr(Context, 'enqueue', lambda self: (_ for _ in ()).throw(BackendError('it failed')))
        with pytest.raises(BackendError, match='it failed'):
            backend.forward(slot, Chunk(tokens(2, 20)))
    assert backend.slot_length(slot) == 5
    fresh = backend.new_slot()
    expected = backend.forward(fresh, Chunk(ids), [-1])[0]
    assert_close(backend.forward(slot, Chunk(ids[5:]), [-1])[0], expected)


# --- what is missing ------------------------------------------------------------------------------------------

def test_without_a_gpu_the_error_says_so(machine: Machine, bundle: Path) -> None:
    opened(machine, bundle).close()
    machine.gpu.is_present = False
    try:
        with pytest.raises(BackendUnavailable, match=r'no CUDA device.*InsufficientDriver.*nvidia-smi'):
            TensorrtBackend(open_bundle(bundle), ModelConfig()).open()
    finally:
        machine.gpu.is_present = True


@pytest.mark.parametrize(('version', 'words'), [('8.6.2.3', r'8.6.2.3 is too old.*JetPack 6.2'), ('10.2.0', 'too old')])
def test_a_tensorrt_that_is_too_old_is_refused_by_name(bundle: Path, version: str, words: str) -> None:
    use(Machine(version))
    with pytest.raises(BackendUnavailable, match=words):
        TensorrtBackend(open_bundle(bundle), ModelConfig()).open()


def test_without_tensorrt_the_error_names_the_package(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(BackendUnavailable, match='python3-libnvinfer'):
        TensorrtBackend(open_bundle(bundle), ModelConfig()).open()
