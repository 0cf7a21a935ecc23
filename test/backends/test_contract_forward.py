# SPDX-License-Identifier: Apache-2.0
"""What every backend promises, the same test for each: chunks, their logits, and which chunks are
refused.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_kinds import (
    Kind,
    each_example_takes_new_slots,
    frame,
    fresh_logits,
    piece,
    prompt,
    run_to_end,
    tokens,
)

from penguin_ros.backends.base.backend import Backend, Chunk, FeatureSpan
from penguin_ros.errors import BackendError, CacheOverflow


@each_example_takes_new_slots
@given(cuts=st.lists(st.integers(1, 30), unique=True, max_size=30))
def test_a_prompt_in_any_chunks_equals_the_whole(
    kind: Kind, backend: Backend, cuts: list[int]
) -> None:
    ids, spans = prompt(backend)
    whole = fresh_logits(backend, ids, *spans)
    slot, borders = backend.new_slot(), [0, *sorted(cuts), len(ids)]
    for start, end in zip(borders[:-1], borders[1:], strict=True):
        logits = backend.forward(
            slot, piece(ids, spans, start, end), [-1] if end == len(ids) else []
        )
        assert backend.slot_length(slot) == end
    backend.free_slot(slot)
    kind.assert_equal(logits[0], whole)


@each_example_takes_new_slots
@given(wanted=st.lists(st.integers(-31, 30), max_size=8))
def test_logits_come_for_the_positions_asked_in_that_order(
    kind: Kind, backend: Backend, wanted: list[int]
) -> None:
    ids, spans = prompt(backend)
    slot = backend.new_slot()
    every = backend.forward(slot, Chunk(ids, spans), range(31))
    backend.truncate(slot, 0)
    logits = backend.forward(slot, Chunk(ids, spans), wanted)
    backend.free_slot(slot)
    assert (
        logits.shape == (len(wanted), backend.description.vocabulary_size)
        and logits.dtype == np.float32
    )
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


def test_the_best_token_is_that_of_the_logits(kind: Kind, backend: Backend) -> None:
    ids, spans = prompt(backend)
    slot, other = backend.new_slot(), backend.new_slot()
    chunks = [
        Chunk(ids, spans),
        *(Chunk(tokens(seed, 1)) for seed in range(6)),
        Chunk(tokens(9, 5)),
    ]
    for chunk in chunks:
        best, logits = backend.forward_greedy(slot, chunk), backend.forward(other, chunk, [-1])[0]
        assert best.token_id == int(logits.argmax())
        assert abs(best.logit - logits.max()) <= max(kind.tolerance, 1e-6) * np.linalg.norm(logits)
        assert backend.slot_length(slot) == backend.slot_length(other)
    assert (
        len({backend.forward_greedy(slot, Chunk(tokens(seed, 1))).token_id for seed in range(9)})
        > 1
    )


def test_a_run_of_the_best_tokens_is_what_they_are_one_by_one(kind: Kind, backend: Backend) -> None:
    ids, spans = prompt(backend)
    slot, other = backend.new_slot(), backend.new_slot()
    for each in (slot, other):
        backend.forward(each, Chunk(ids, spans))
    token_id = 7
    for count in (backend.description.greedy_steps, 1, 3, backend.description.greedy_steps):
        run = backend.forward_greedy_run(slot, token_id, count)
        for best in run:
            alone = backend.forward_greedy(other, Chunk(np.array([token_id])))
            assert abs(best.logit - alone.logit) <= max(kind.tolerance, 1e-6) * abs(alone.logit)
            assert best.token_id == alone.token_id
            token_id = best.token_id
        assert backend.slot_length(slot) == backend.slot_length(other)
    logits = [backend.forward(each, Chunk(tokens(4, 3)), [-1])[0] for each in (slot, other)]
    kind.assert_equal(*logits)
    left = backend.description.max_length - backend.slot_length(slot)
    with pytest.raises(CacheOverflow):
        backend.forward_greedy_run(slot, token_id, left + 1)
    assert backend.slot_length(slot) == backend.description.max_length - left


@each_example_takes_new_slots
@given(wanted=st.lists(st.integers(-31, 30), max_size=8))
def test_the_best_token_after_each_of_several_positions_is_that_of_its_logits(
    kind: Kind, backend: Backend, wanted: list[int]
) -> None:
    ids, spans = prompt(backend)
    slot = backend.new_slot()
    logits = backend.forward(slot, Chunk(ids, spans), wanted)
    backend.truncate(slot, 0)
    best = backend.forward_greedy_each(slot, Chunk(ids, spans), wanted)
    assert backend.slot_length(slot) == 31 and len(best) == len(wanted)
    backend.free_slot(slot)
    for each, row in zip(best, logits, strict=True):
        assert each.token_id == int(row.argmax())
        assert abs(each.logit - row.max()) <= max(kind.tolerance, 1e-6) * np.linalg.norm(row)


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
        logits = [
            backend.forward(slot, Chunk(ids[start : start + 5]), [-1])[0]
            for slot, ids in zip(slots, sequences, strict=True)
        ]
    for got, alone in zip(logits, expected, strict=True):
        kind.assert_equal(got, alone)


def test_results_belong_to_the_caller(backend: Backend) -> None:
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    values, logits = backend.read_features(features), fresh_logits(backend, tokens(1, 5))
    kept = values.copy(), logits.copy()
    values[:], logits[:] = 0, 0
    assert np.array_equal(backend.read_features(features), kept[0])
    assert np.array_equal(fresh_logits(backend, tokens(1, 5)), kept[1])


def test_read_only_inputs_are_taken_and_left_alone(backend: Backend) -> None:
    source, ids = frame(1), tokens(1, 8)
    source.pixels.flags.writeable = ids.flags.writeable = False
    features = run_to_end(backend.encode([source]))[0][0]
    assert np.isfinite(fresh_logits(backend, ids, FeatureSpan(1, features, 0, 6))).all()


# --- what a chunk may not be ----------------------------------------------------------------------


def refused(backend: Backend, chunk: Chunk, logits_indices: list[int], words: str) -> None:
    """The call is refused with these words, and the slot is as before."""
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 5)))
    with pytest.raises(BackendError, match=words):
        backend.forward(slot, chunk, logits_indices)
    with pytest.raises(BackendError, match=words):
        backend.forward_greedy(slot, chunk)
    with pytest.raises(BackendError, match=words):
        backend.forward_greedy_each(slot, chunk, [-1, *logits_indices])
    assert backend.slot_length(slot) == 5
    after = backend.forward(slot, Chunk(tokens(2, 1)), [0])[0]
    expected = fresh_logits(backend, np.concatenate((tokens(1, 5), tokens(2, 1))))
    # Of the size of rounding to 16 bits; a position too many would change them wholly.
    assert np.linalg.norm(after - expected) <= 2e-2 * np.linalg.norm(expected)


@pytest.mark.parametrize('ids', [[3, -1], [3, 1 << 40], [[1, 2]], [], [0.5]])
def test_ids_outside_the_vocabulary_are_refused(backend: Backend, ids: list[object]) -> None:
    refused(backend, Chunk(np.array(ids)), [], 'token id')


def test_the_first_id_behind_the_vocabulary_is_refused_with_the_numbers(backend: Backend) -> None:
    size = backend.description.vocabulary_size
    assert np.isfinite(fresh_logits(backend, np.array([size - 1]))).all()
    refused(backend, Chunk(np.array([size])), [], f'{size} is out of range.*{size} entries')


@pytest.mark.parametrize(
    ('offset', 'first', 'count'),
    [(-1, 0, 2), (7, 0, 2), (0, 0, 7), (0, 5, 2), (0, -1, 2), (2, 0, 0)],
)
def test_a_span_that_does_not_fit_is_refused(
    backend: Backend, offset: int, first: int, count: int
) -> None:
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    refused(
        backend,
        Chunk(tokens(1, 8), (FeatureSpan(offset, features, first, count),)),
        [-1],
        'out of range',
    )


def test_overlapping_spans_are_refused(backend: Backend) -> None:
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    spans = FeatureSpan(3, features, 0, 3), FeatureSpan(0, features, 0, 4)
    refused(backend, Chunk(tokens(1, 8), spans), [-1], 'overlap')


@pytest.mark.parametrize('index', [8, -9])
def test_logits_beside_the_chunk_are_refused(backend: Backend, index: int) -> None:
    slot = backend.new_slot()
    for call in (backend.forward, backend.forward_greedy_each):
        with pytest.raises(BackendError, match=f'logits at {index} .*8 positions'):
            call(slot, Chunk(tokens(1, 8)), [0, index])
    assert backend.slot_length(slot) == 0
