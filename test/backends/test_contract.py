# SPDX-License-Identifier: Apache-2.0
"""What every backend promises (penguin_ros/backends/base.py), the same test for each."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from backends.backend_kinds import CONFIG, Kind, finished, frame, piece, tokens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penguin_ros.backends.base import Backend, Chunk, FeatureSpan
from penguin_ros.errors import BackendError, CacheOverflow, NoFreeSlot

each_example_takes_new_slots = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def prompt(backend: Backend) -> tuple[np.ndarray, tuple[FeatureSpan, ...]]:
    """31 positions: text, the 6 tokens of a frame, text, 4 rows out of the middle of another frame, text."""
    first, second = finished(backend.encode([frame(1), frame(2)]))[0]
    return tokens(3, 31), (FeatureSpan(5, first, 0, 6), FeatureSpan(20, second, 1, 4))


def last_logits(backend: Backend, slot: int, ids: np.ndarray, *spans: FeatureSpan) -> np.ndarray:
    """Appends all at once; logits (vocabulary,) of the last position."""
    return backend.forward(slot, Chunk(ids, spans), [-1])[0]


def fresh_logits(backend: Backend, ids: np.ndarray, *spans: FeatureSpan) -> np.ndarray:
    """The same in a slot of its own."""
    slot = backend.new_slot()
    try:
        return last_logits(backend, slot, ids, *spans)
    finally:
        backend.free_slot(slot)


# --- description, opening, closing ----------------------------------------------------------------------------

def test_description_says_what_is_open(backend: Backend) -> None:
    description = backend.description
    assert description == backend.open()
    assert (description.max_length, description.slots) == (64, 3)
    assert description.slot_bytes > 0 and description.name and description.model_digest
    features = finished(backend.encode([frame(1)]))[0][0]
    assert features.nbytes == features.tokens * description.feature_bytes_per_token
    assert backend.read_features(features).shape == (6, description.hidden_size)
    assert fresh_logits(backend, tokens(1, 3)).shape == (description.vocabulary_size,)


def test_a_backend_that_was_never_opened_says_so(kind: Kind) -> None:
    unopened = kind.make(CONFIG)
    unopened.close()
    with pytest.raises(BackendError, match='not open'):
        _ = unopened.description
    with pytest.raises(BackendError, match='not open'):
        unopened.new_slot()


def test_after_close_every_call_is_refused(backend: Backend) -> None:
    features, slot = finished(backend.encode([frame(1)]))[0][0], backend.new_slot()
    backend.close()
    backend.close()
    calls: list[Callable[[], object]] = [
        lambda: backend.description, backend.new_slot, lambda: backend.free_slot(slot), lambda: backend.slot_length(slot),
        lambda: backend.truncate(slot, 0), lambda: backend.fork(slot, 0), lambda: backend.encode([frame(1)]),
        lambda: backend.forward(slot, Chunk(tokens(1, 2))), lambda: backend.read_features(features)]
    for call in calls:
        with pytest.raises(BackendError, match='not open'):
            call()


def test_a_reopened_backend_computes_the_same_and_refuses_old_handles(backend: Backend) -> None:
    features, slot = finished(backend.encode([frame(1)]))[0][0], backend.new_slot()
    values, logits = backend.read_features(features), last_logits(backend, slot, tokens(1, 9))
    backend.close()
    backend.open()
    again = finished(backend.encode([frame(1)]))[0][0]
    assert np.array_equal(backend.read_features(again), values)
    assert np.array_equal(fresh_logits(backend, tokens(1, 9)), logits)
    new = backend.new_slot()
    for call in (lambda: backend.slot_length(slot), lambda: backend.read_features(features),
                 lambda: backend.forward(new, Chunk(tokens(1, 6), (FeatureSpan(0, features, 0, 6),)))):
        with pytest.raises(BackendError):
            call()
    assert backend.slot_length(new) == 0


def test_close_ends_a_running_encode(backend: Backend) -> None:
    running = backend.encode([frame(1), frame(2)])
    next(running)
    backend.close()
    with pytest.raises(BackendError, match='not open'):
        next(running)
    backend.open()
    assert len(finished(backend.encode([frame(1)]))[0]) == 1


def test_an_encode_does_not_go_on_in_a_reopened_backend(backend: Backend) -> None:
    running = backend.encode([frame(1), frame(2)])
    next(running)
    backend.close()
    backend.open()
    with pytest.raises(BackendError):
        finished(running)


# --- encode ---------------------------------------------------------------------------------------------------

def test_encode_returns_one_handle_per_frame_in_order(backend: Backend) -> None:
    frames = [frame(1), frame(2, 2, 2), frame(3, 5, 3, 1)]
    features = finished(backend.encode(frames))[0]
    assert [each.tokens for each in features] == [6, 1, 15]
    for made, source in zip(features, frames, strict=True):
        alone = finished(backend.encode([source]))[0][0]
        assert np.array_equal(backend.read_features(made), backend.read_features(alone))
    assert finished(backend.encode([])) == ([], 0)


@pytest.mark.parametrize('stage', ['encoded', 'projected'])
def test_features_of_a_frame_are_the_same_bits_in_any_company(backend: Backend, stage: str) -> None:
    alone = backend.read_features(finished(backend.encode([frame(7)]))[0][0], stage)
    for company in ([frame(1), frame(7), frame(2)], [frame(7), frame(7)], [frame(1, 8, 8), frame(2, 2, 2, 1), frame(7)]):
        features = finished(backend.encode(company))[0]
        index = max(position for position, each in enumerate(company) if np.array_equal(each.pixels, frame(7).pixels))
        assert np.array_equal(backend.read_features(features[index], stage), alone)
    assert alone.dtype == np.float32 and np.isfinite(alone).all() and alone.std() > 0


def test_features_do_not_depend_on_how_an_encode_is_sliced(kind: Kind) -> None:
    frames, results, slices = [frame(1, 12, 16), frame(2, 7, 9, 1)], [], []
    for rows in (4096, 64, 50):
        backend = kind.make(dataclasses.replace(CONFIG, encode_patches=rows))
        backend.open()
        features, count = finished(backend.encode(frames))
        results.append([backend.read_features(each, stage) for each in features for stage in ('encoded', 'projected')])
        slices.append(count)
        backend.close()
    for sliced in results[1:]:
        for got, whole in zip(sliced, results[0], strict=True):
            kind.assert_equal(got, whole)
    assert len(frames) <= slices[0] < slices[1] < slices[2]


def test_encodes_and_chunks_may_alternate(backend: Backend) -> None:
    expected = [backend.read_features(finished(backend.encode([frame(seed)]))[0][0]) for seed in (1, 2)]
    logits, slot = fresh_logits(backend, tokens(1, 12)), backend.new_slot()
    running, position, results = [backend.encode([frame(seed)]) for seed in (1, 2)], 0, {}
    while len(results) < 2:
        for index, encode in enumerate(running):
            try:
                if index not in results:
                    next(encode)
            except StopIteration as end:
                results[index] = backend.read_features(end.value[0])
        if position < 11:
            backend.forward(slot, Chunk(tokens(1, 12)[position:position + 1]))
            position += 1
    assert all(np.array_equal(results[index], expected[index]) for index in (0, 1))
    last = backend.forward(slot, Chunk(tokens(1, 12)[position:]), [-1])[0]
    assert np.linalg.norm(last - logits) <= 1e-4 * np.linalg.norm(logits)


def test_an_abandoned_encode_leaves_the_backend_usable(backend: Backend) -> None:
    expected = backend.read_features(finished(backend.encode([frame(1)]))[0][0])
    running = backend.encode([frame(5), frame(1)])
    next(running)
    running.close()
    assert np.array_equal(backend.read_features(finished(backend.encode([frame(1)]))[0][0]), expected)


@pytest.mark.parametrize('bad', [
    dataclasses.replace(frame(1), rows=5), dataclasses.replace(frame(1), rows=0), dataclasses.replace(frame(1), merge_size=0),
    dataclasses.replace(frame(1), merge_size=4), dataclasses.replace(frame(1), pixels=frame(1).pixels[:-1]),
    dataclasses.replace(frame(1), pixels=frame(1).pixels[:, :-1]),
    dataclasses.replace(frame(1), pixels=frame(1).pixels.astype(np.float64))])
def test_a_malformed_frame_is_refused_by_number(backend: Backend, bad: object) -> None:
    with pytest.raises(BackendError, match='frame 1 has'):
        finished(backend.encode([frame(1), bad]))  # type: ignore[list-item]


def test_an_unknown_stage_is_refused(backend: Backend) -> None:
    features = finished(backend.encode([frame(1)]))[0][0]
    with pytest.raises(BackendError, match='middle'):
        backend.read_features(features, 'middle')


def test_features_of_another_backend_are_refused(kind: Kind, backend: Backend) -> None:
    other = kind.make(CONFIG)
    other.open()
    features = finished(other.encode([frame(1)]))[0][0]
    slot = backend.new_slot()
    with pytest.raises(BackendError, match='features'):
        backend.forward(slot, Chunk(tokens(1, 6), (FeatureSpan(0, features, 0, 6),)))
    with pytest.raises(BackendError, match='features'):
        backend.read_features(features)
    assert backend.slot_length(slot) == 0
    other.close()


# --- forward --------------------------------------------------------------------------------------------------

@each_example_takes_new_slots
@given(cuts=st.lists(st.integers(1, 30), unique=True, max_size=30))
def test_a_prompt_in_any_chunks_equals_the_whole(kind: Kind, backend: Backend, cuts: list[int]) -> None:
    ids, spans = prompt(backend)
    whole = fresh_logits(backend, ids, *spans)
    slot, borders = backend.new_slot(), [0, *sorted(cuts), len(ids)]
    for start, end in zip(borders[:-1], borders[1:], strict=True):
        logits = backend.forward(slot, piece(ids, spans, start, end), [-1] if end == len(ids) else [])
        assert backend.slot_length(slot) == end
    backend.free_slot(slot)
    kind.assert_equal(logits[0], whole)


@each_example_takes_new_slots
@given(wanted=st.lists(st.integers(-31, 30), max_size=8))
def test_logits_come_for_the_positions_asked_in_that_order(kind: Kind, backend: Backend, wanted: list[int]) -> None:
    ids, spans = prompt(backend)
    slot = backend.new_slot()
    every = backend.forward(slot, Chunk(ids, spans), range(31))
    backend.truncate(slot, 0)
    logits = backend.forward(slot, Chunk(ids, spans), wanted)
    backend.free_slot(slot)
    assert logits.shape == (len(wanted), backend.description.vocabulary_size) and logits.dtype == np.float32
    for row, index in zip(logits, wanted, strict=True):
        kind.assert_equal(row, every[index])
    assert len(np.unique(every, axis=0)) == 31


def test_decoding_one_by_one_equals_verifying_all_at_once(kind: Kind, backend: Backend) -> None:
    ids, spans = prompt(backend)
    draft, slot = tokens(9, 7), backend.new_slot()
    backend.forward(slot, Chunk(ids, spans))
    at_once = backend.forward(slot, Chunk(draft), range(7))
    backend.truncate(slot, 31)
    for step, token_id in enumerate(draft):
        kind.assert_equal(backend.forward(slot, Chunk(np.array([token_id])), [0])[0], at_once[step])


def test_every_position_counts(backend: Backend) -> None:
    ids, spans = prompt(backend)
    whole = fresh_logits(backend, ids, *spans)
    replaced = [index for index in range(31) if 5 <= index < 11 or 20 <= index < 24]
    for index in range(31):
        changed = ids.copy()
        changed[index] = (changed[index] + 1) % 400
        is_same = np.array_equal(fresh_logits(backend, changed, *spans), whole)
        assert is_same == (index in replaced), f'position {index}'
    shifted = dataclasses.replace(spans[1], first=2)
    assert not np.array_equal(fresh_logits(backend, ids, spans[0], shifted), whole)
    assert not np.array_equal(fresh_logits(backend, ids, spans[0]), whole)


def test_slots_do_not_see_each_other(kind: Kind, backend: Backend) -> None:
    sequences = [tokens(seed, 20) for seed in (1, 2, 3)]
    expected = [fresh_logits(backend, ids) for ids in sequences]
    slots = [backend.new_slot() for _ in sequences]
    for start in range(0, 20, 5):
        logits = [backend.forward(slot, Chunk(ids[start:start + 5]), [-1])[0]
                  for slot, ids in zip(slots, sequences, strict=True)]
    for got, alone in zip(logits, expected, strict=True):
        kind.assert_equal(got, alone)


def test_results_belong_to_the_caller(backend: Backend) -> None:
    features = finished(backend.encode([frame(1)]))[0][0]
    values, logits = backend.read_features(features), fresh_logits(backend, tokens(1, 5))
    kept = values.copy(), logits.copy()
    values[:], logits[:] = 0, 0
    assert np.array_equal(backend.read_features(features), kept[0])
    assert np.array_equal(fresh_logits(backend, tokens(1, 5)), kept[1])


def test_read_only_inputs_are_taken_and_left_alone(backend: Backend) -> None:
    source, ids = frame(1), tokens(1, 8)
    source.pixels.flags.writeable = ids.flags.writeable = False
    features = finished(backend.encode([source]))[0][0]
    assert np.isfinite(fresh_logits(backend, ids, FeatureSpan(1, features, 0, 6))).all()


# --- what a chunk may not be ----------------------------------------------------------------------------------

def refused(backend: Backend, chunk: Chunk, logits_at: list[int], words: str) -> None:
    """The call is refused with these words, and the slot is as before."""
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 5)))
    with pytest.raises(BackendError, match=words):
        backend.forward(slot, chunk, logits_at)
    assert backend.slot_length(slot) == 5
    after = backend.forward(slot, Chunk(tokens(2, 1)), [0])[0]
    expected = fresh_logits(backend, np.concatenate((tokens(1, 5), tokens(2, 1))))
    assert np.linalg.norm(after - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize('ids', [[3, -1], [3, 1 << 40], [[1, 2]], [], [0.5]])
def test_ids_outside_the_vocabulary_are_refused(backend: Backend, ids: list[object]) -> None:
    refused(backend, Chunk(np.array(ids)), [], 'token id')


def test_the_first_id_behind_the_vocabulary_is_refused_with_the_numbers(backend: Backend) -> None:
    size = backend.description.vocabulary_size
    assert np.isfinite(fresh_logits(backend, np.array([size - 1]))).all()
    refused(backend, Chunk(np.array([size])), [], f'{size} is out of range.*{size} entries')


@pytest.mark.parametrize(('offset', 'first', 'count'), [(-1, 0, 2), (7, 0, 2), (0, 0, 7), (0, 5, 2), (0, -1, 2), (2, 0, 0)])
def test_a_span_that_does_not_fit_is_refused(backend: Backend, offset: int, first: int, count: int) -> None:
    features = finished(backend.encode([frame(1)]))[0][0]
    refused(backend, Chunk(tokens(1, 8), (FeatureSpan(offset, features, first, count),)), [-1], 'out of range')


def test_overlapping_spans_are_refused(backend: Backend) -> None:
    features = finished(backend.encode([frame(1)]))[0][0]
    spans = FeatureSpan(3, features, 0, 3), FeatureSpan(0, features, 0, 4)
    refused(backend, Chunk(tokens(1, 8), spans), [-1], 'overlap')


@pytest.mark.parametrize('index', [8, -9])
def test_logits_beside_the_chunk_are_refused(backend: Backend, index: int) -> None:
    refused(backend, Chunk(tokens(1, 8)), [0, index], f'logits at {index} .*8 positions')


def test_an_overflow_writes_nothing(kind: Kind, backend: Backend) -> None:
    ids, slot = tokens(1, 64), backend.new_slot()
    backend.forward(slot, Chunk(ids[:62]))
    with pytest.raises(CacheOverflow, match='3 positions.*62 of at most 64'):
        backend.forward(slot, Chunk(tokens(2, 3)), [-1])
    assert backend.slot_length(slot) == 62
    full = backend.forward(slot, Chunk(ids[62:]), [-1])[0]
    assert backend.slot_length(slot) == 64
    with pytest.raises(CacheOverflow):
        backend.forward(slot, Chunk(tokens(2, 1)))
    backend.free_slot(slot)
    kind.assert_equal(full, fresh_logits(backend, ids))


# --- slots ----------------------------------------------------------------------------------------------------

@each_example_takes_new_slots
@given(length=st.integers(0, 31), count=st.integers(1, 12))
def test_a_truncated_slot_goes_on_like_a_fresh_one(kind: Kind, backend: Backend, length: int, count: int) -> None:
    ids, spans = prompt(backend)
    other, slot = tokens(length, count), backend.new_slot()
    backend.forward(slot, Chunk(ids, spans))
    backend.truncate(slot, length)
    assert backend.slot_length(slot) == length
    got = last_logits(backend, slot, other)
    backend.free_slot(slot)
    start = piece(ids, spans, 0, length)
    fresh = backend.new_slot()
    kind.assert_equal(got, last_logits(backend, fresh, np.concatenate((start.token_ids, other)), *start.spans))
    backend.free_slot(fresh)


def test_a_slot_cannot_be_truncated_to_more_than_it_holds(backend: Backend) -> None:
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 5)))
    for length in (6, -1):
        with pytest.raises(BackendError, match=f'length {length} .*5 positions'):
            backend.truncate(slot, length)
        with pytest.raises(BackendError, match=f'length {length} .*5 positions'):
            backend.fork(slot, length)
    assert backend.slot_length(slot) == 5


@each_example_takes_new_slots
@given(length=st.integers(0, 31))
def test_a_fork_and_its_source_go_their_own_ways(kind: Kind, backend: Backend, length: int) -> None:
    ids, spans = prompt(backend)
    slot = backend.new_slot()
    backend.forward(slot, Chunk(ids, spans))
    junk = backend.new_slot()  # so that the fork's place does not hold the right values by chance
    backend.forward(junk, Chunk(tokens(99, 64)))
    backend.free_slot(junk)
    fork = backend.fork(slot, length)
    assert (backend.slot_length(slot), backend.slot_length(fork)) == (31, length)
    forked = last_logits(backend, fork, tokens(50, 4))
    straight = last_logits(backend, slot, tokens(60, 4))
    backend.free_slot(slot)
    forked_on = last_logits(backend, fork, tokens(70, 2))
    backend.free_slot(fork)
    start = piece(ids, spans, 0, length)
    branch = np.concatenate((start.token_ids, tokens(50, 4)))
    kind.assert_equal(straight, fresh_logits(backend, np.concatenate((ids, tokens(60, 4))), *spans))
    kind.assert_equal(forked, fresh_logits(backend, branch, *start.spans))
    kind.assert_equal(forked_on, fresh_logits(backend, np.concatenate((branch, tokens(70, 2))), *start.spans))


def test_slots_run_out_and_come_back(backend: Backend) -> None:
    slots = [backend.new_slot() for _ in range(3)]
    assert len(set(slots)) == 3
    for call in (backend.new_slot, lambda: backend.fork(slots[0], 0)):
        with pytest.raises(NoFreeSlot, match='all 3 KV slots'):
            call()
    backend.forward(slots[1], Chunk(tokens(1, 9)))
    backend.free_slot(slots[1])
    again = backend.new_slot()
    assert backend.slot_length(again) == 0
    with pytest.raises(NoFreeSlot):
        backend.new_slot()


def test_a_freed_or_invented_slot_is_refused(backend: Backend) -> None:
    freed = backend.new_slot()
    backend.free_slot(freed)
    held = backend.new_slot()
    for slot in (freed, held + 1000, -1):
        calls: list[Callable[[int], object]] = [
            backend.free_slot, backend.slot_length, lambda number: backend.truncate(number, 0),
            lambda number: backend.fork(number, 0), lambda number: backend.forward(number, Chunk(tokens(1, 2)))]
        for call in calls:
            with pytest.raises(BackendError, match=f'slot {slot} is not in use'):
                call(slot)
    assert backend.slot_length(held) == 0
