# SPDX-License-Identifier: Apache-2.0
"""Recorded passes of the LLM against plain ones: the same tokens and logits on any schedule, at
every edge of a bucket, without growth, and after numbers that are not finite.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, frame, run_to_end, tokens
from support.memory_checkpoint import MemoryCheckpoint

torch = pytest.importorskip('torch', reason='torch is not installed')

from support.replaying_recorder import NotRecordable, ReplayingRecorder
from support.torch_graphs import graphs_of, recording_backend

from penguin_ros.backends.base.backend import Chunk, FeatureSpan
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.errors import BackendError

LENGTHY = replace(CONFIG, max_length=200)


def pair(config: Any = LENGTHY) -> tuple[TorchBackend, TorchBackend]:
    """Recorded and plain, both open, on the same weights."""
    recorded = recording_backend(MemoryCheckpoint(), config)
    plain = TorchBackend(MemoryCheckpoint(), config)  # type: ignore[arg-type]
    for backend in (recorded, plain):
        backend.open()
    return recorded, plain


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    """To a relative error of 1e-5 in each row."""
    assert got.shape == expected.shape
    errors = np.linalg.norm(got - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert errors.max() <= 1e-5


class Schedule:
    """The same random calls on both backends."""

    def __init__(self, seed: int) -> None:
        self.backends = pair()
        self.random = np.random.default_rng(seed)
        self.slots = [[each.new_slot() for each in self.backends]]
        self.features = [run_to_end(each.encode([frame(1)]))[0][0] for each in self.backends]

    def length(self, slot: int) -> int:
        return self.backends[0].slot_length(self.slots[slot][0])

    def step(self) -> None:
        slot = int(self.random.integers(len(self.slots)))
        call = self.random.choice(['decode', 'decode', 'verify', 'prefill', 'truncate', 'fork'])
        getattr(self, call)(slot)

    def decode(self, slot: int) -> None:
        self.append(slot, 1)

    def verify(self, slot: int) -> None:
        self.append(slot, int(self.random.integers(2, 17)))

    def prefill(self, slot: int) -> None:
        self.append(slot, int(self.random.integers(2, 90)), has_frame=True)

    def append(self, slot: int, rows: int, has_frame: bool = False) -> None:
        if self.length(slot) + rows > 200:
            return self.truncate(slot)
        ids = self.random.integers(0, 400, rows)
        wanted = sorted(set(self.random.integers(0, rows, 3).tolist()) | {rows - 1})
        is_greedy = bool(self.random.integers(2))
        results: list[Any] = []
        for backend, slots, features in zip(
            self.backends, zip(*self.slots, strict=True), self.features, strict=True
        ):
            spans = (FeatureSpan(1, features, 0, 6),) if has_frame and rows > 8 else ()
            call = backend.forward_greedy_each if is_greedy else backend.forward
            results.append(call(slots[slot], Chunk(ids, spans), wanted))
        if is_greedy:
            assert [each.token_id for each in results[0]] == [each.token_id for each in results[1]]
            results = [np.array([each.logit for each in one]) for one in results]
        assert_close(*results)

    def truncate(self, slot: int) -> None:
        length = int(self.random.integers(0, self.length(slot) + 1))
        for backend, number in zip(self.backends, self.slots[slot], strict=True):
            backend.truncate(number, length)

    def fork(self, slot: int) -> None:
        length = int(self.random.integers(0, self.length(slot) + 1))
        if len(self.slots) == 3:
            gone = self.slots.pop(1)
            for backend, number in zip(self.backends, gone, strict=True):
                backend.free_slot(number)
            slot = 0
            length = min(length, self.length(0))
        self.slots.append(
            [
                backend.fork(number, length)
                for backend, number in zip(self.backends, self.slots[slot], strict=True)
            ]
        )


@pytest.mark.parametrize('seed', range(4))
def test_random_schedules_give_the_same_tokens_and_logits(seed: int) -> None:
    schedule = Schedule(seed)
    for _ in range(60):
        schedule.step()
    counts = graphs_of(schedule.backends[0]).counts
    assert counts.replayed > counts.recorded > 3 and not counts.failure


def exact_backend(monkeypatch: pytest.MonkeyPatch) -> TorchBackend:
    """A plain backend that computes the same network in float64."""
    from penguin_ros.backends.torch import session

    backend = TorchBackend(MemoryCheckpoint(), LENGTHY)  # type: ignore[arg-type]
    with monkeypatch.context() as planted:
        planted.setattr(session, 'choose_precision', lambda setting, device: 'float64')
        backend.open()
    return backend


def test_recorded_passes_are_as_near_to_exact_logits_as_plain_ones_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Logits are as large as 12 here, of which float32 holds 5e-7; a pass in float32 is off by a
    hundred times that, so two passes that add in another order cannot agree to 1e-5 as numbers.
    """
    backends = (*pair(), exact_backend(monkeypatch))
    random, errors = np.random.default_rng(0), np.zeros(3)
    for _ in range(6):
        slots = [each.new_slot() for each in backends]
        while backends[0].slot_length(slots[0]) < 140:
            rows = int(random.choice([1, 1, 3, 16, 17, 40]))
            chunk = Chunk(random.integers(0, 400, rows))
            recorded, plain, exact = (
                each.forward(slot, chunk, range(rows))
                for each, slot in zip(backends, slots, strict=True)
            )
            found = [recorded - exact, plain - exact, recorded - plain]
            largest = np.abs(exact).max(axis=-1)
            errors = np.maximum(
                errors, [(np.abs(each).max(axis=-1) / largest).max() for each in found]
            )
        for each, slot in zip(backends, slots, strict=True):
            each.free_slot(slot)
    ours, theirs, between = errors
    assert 1e-6 < theirs < 3e-5
    assert ours < 1.5 * theirs and between < 1.5 * theirs


def test_every_edge_of_a_bucket_is_right() -> None:
    recorded, plain = pair()
    buckets = recorded._session._passes._network.buckets
    edges = sorted({buckets.of(length) for length in range(1, 180)})[:-1]
    assert len(edges) > 4
    slots = [each.new_slot() for each in (recorded, plain)]
    for edge in edges:
        for rows in (1, 2, 16, 17):
            for past in {edge - rows, edge - rows + 1, edge - 1, min(edge, 200 - rows)}:
                results = []
                for backend, slot in zip((recorded, plain), slots, strict=True):
                    backend.truncate(slot, 0)
                    if past > 0:
                        backend.forward(slot, Chunk(tokens(1, past)))
                    chunk = Chunk(tokens(edge, rows))
                    results.append(backend.forward(slot, chunk, range(rows)))
                assert_close(*results)


def test_a_chunk_longer_than_the_largest_pass_runs_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from penguin_ros.backends.torch import decoder_passes

    monkeypatch.setattr(decoder_passes, 'MAX_ROWS', 64)
    recorded, plain = pair()
    chunk = Chunk(tokens(1, 180))
    assert_close(*(each.forward(each.new_slot(), chunk, range(180)) for each in (recorded, plain)))


@pytest.mark.slow
def test_a_thousand_steps_keep_no_more_than_the_first_hundreds() -> None:
    backend = recording_backend(MemoryCheckpoint(), replace(CONFIG, threads=1))
    backend.open()
    slot = backend.new_slot()
    held = []
    for step in range(1, 1001):
        if backend.slot_length(slot) > 60:
            backend.truncate(slot, step % 3)
        backend.forward_greedy(slot, Chunk(tokens(step, 1)))
        if step in (300, 1000):
            gc.collect()
            tensors = sum(1 for each in gc.get_objects() if issubclass(type(each), torch.Tensor))
            held.append((len(graphs_of(backend)), tensors))
    assert held[0] == held[1] and held[0][0] <= 5
    assert graphs_of(backend).counts.replayed > 980


# --- numbers that are not finite ------------------------------------------------------------------


def freed(backend: TorchBackend, slot: int) -> int:
    backend.free_slot(slot)
    return backend.new_slot()


def truncated(backend: TorchBackend, slot: int) -> int:
    backend.truncate(slot, 5)
    return slot


def forked_into(backend: TorchBackend, slot: int) -> int:
    """Another request's first five positions are copied over the slot."""
    other = backend.new_slot()
    backend.forward(other, Chunk(tokens(1, 9)))
    backend.free_slot(slot)
    return backend.fork(other, 5)


@pytest.mark.parametrize('more', [0, 30, 100])
@pytest.mark.parametrize('how', [freed, truncated, forked_into])
def test_values_that_are_not_finite_do_not_outlive_their_request(how: Any, more: int) -> None:
    backend = recording_backend(MemoryCheckpoint(), LENGTHY)
    backend.open()
    features: Any = run_to_end(backend.encode([frame(1)]))[0][0]
    features.stages['projected'] = torch.full_like(features.stages['projected'], torch.nan)
    slot, ids = backend.new_slot(), tokens(1, 9)
    expected = backend.forward(slot, Chunk(ids), [-1])[0]
    bad = Chunk(tokens(1, 20), (FeatureSpan(2, features, 0, 6),))
    assert np.isnan(backend.forward_greedy(slot, bad).logit)
    if more:
        assert np.isnan(backend.forward(slot, Chunk(tokens(3, more)), [-1])).all()
    slot = how(backend, slot)
    assert_close(backend.forward(slot, Chunk(ids[backend.slot_length(slot) :]), [-1])[0], expected)
    longer = backend.forward(slot, Chunk(tokens(4, 150)), [-1])[0]
    assert np.isfinite(longer).all()


# --- when recording fails, and what the stand-in refuses ------------------------------------------


def test_when_recording_fails_plain_passes_go_on_with_what_is_held() -> None:
    recorder = ReplayingRecorder()
    recorded, plain = recording_backend(MemoryCheckpoint(), LENGTHY, recorder), pair()[1]
    recorded.open()
    slots = [each.new_slot() for each in (recorded, plain)]

    def refuse() -> None:
        raise RuntimeError('CUDA error: operation not permitted when stream is capturing')

    for step in range(40):
        if step == 20:
            recorder.may_record = refuse
        results = [
            backend.forward(slot, Chunk(tokens(step, 3)), range(3))
            for backend, slot in zip((recorded, plain), slots, strict=True)
        ]
        assert_close(*results)
    stats = recorded.stats()
    assert stats.slowdown.startswith('CUDA graphs are not used: CUDA error: operation not')
    assert stats.counts['passes without CUDA graph'] < 12 and recorder.released == 1


def test_an_input_that_did_not_pass_through_the_memory_of_its_pass_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A forgotten copy: the embeddings of the chunk stand in the place of the pass's memory."""
    from penguin_ros.backends.torch.decoder_passes import EmbeddedPass

    backend = recording_backend(MemoryCheckpoint(), LENGTHY)
    backend.open()
    real = EmbeddedPass.work

    outside = torch.ones((64, MemoryCheckpoint().shape.llm.hidden_size))

    def work(self: Any) -> None:
        place, self.rows.embeddings = self.rows.embeddings, outside
        try:
            real(self)
        finally:
            self.rows.embeddings = place

    monkeypatch.setattr(EmbeddedPass, 'work', work)
    with pytest.raises(BackendError, match='no place of ours'):
        backend.forward(backend.new_slot(), Chunk(tokens(1, 40)))


def test_a_number_that_was_baked_in_is_refused() -> None:
    recorder, memory, factor = ReplayingRecorder(), torch.ones(3), [2]
    recorder.held = lambda: [memory]
    with torch.inference_mode():
        replay = recorder.record(lambda: memory.mul_(factor[0]))  # type: ignore[func-returns-value]
        assert memory.tolist() == [1, 1, 1], 'a recording computes nothing'
        replay()
        assert memory.tolist() == [2, 2, 2]
        factor[0] = 3
        with pytest.raises(NotRecordable, match='not what was recorded'):
            replay()


def test_waiting_for_the_device_is_refused() -> None:
    recorder, memory = ReplayingRecorder(), torch.ones(3)
    recorder.held = lambda: [memory]
    with torch.inference_mode(), pytest.raises(NotRecordable, match='waits for the device'):
        recorder.record(lambda: memory[0].item())  # type: ignore[arg-type,return-value]
