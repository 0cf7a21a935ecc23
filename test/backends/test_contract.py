# SPDX-License-Identifier: Apache-2.0
"""What every backend promises (penguin_ros/backends/base/backend.py), the same test for each:
opening, closing, encoding.

`test_contract_forward.py` and `test_contract_slots.py` go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from support.backend_kinds import CONFIG, Kind, frame, fresh_logits, last_logits, run_to_end, tokens

from penguin_ros.backends.base.backend import Backend, Chunk, FeatureSpan
from penguin_ros.errors import BackendError


def test_description_says_what_is_open(backend: Backend) -> None:
    description = backend.description
    assert description == backend.open()
    assert (description.max_length, description.slots) == (64, 3)
    assert description.slot_bytes > 0 and description.name and description.model_digest
    assert description.device and description.way
    features = run_to_end(backend.encode([frame(1)]))[0][0]
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
    features, slot = run_to_end(backend.encode([frame(1)]))[0][0], backend.new_slot()
    backend.close()
    backend.close()
    calls: list[Callable[[], object]] = [
        lambda: backend.description,
        backend.new_slot,
        lambda: backend.free_slot(slot),
        lambda: backend.slot_length(slot),
        lambda: backend.truncate(slot, 0),
        lambda: backend.fork(slot, 0),
        lambda: backend.encode([frame(1)]),
        lambda: backend.forward(slot, Chunk(tokens(1, 2))),
        lambda: backend.read_features(features),
    ]
    for call in calls:
        with pytest.raises(BackendError, match='not open'):
            call()


def test_a_reopened_backend_computes_the_same_and_refuses_old_handles(backend: Backend) -> None:
    features, slot = run_to_end(backend.encode([frame(1)]))[0][0], backend.new_slot()
    values, logits = backend.read_features(features), last_logits(backend, slot, tokens(1, 9))
    backend.close()
    backend.open()
    again = run_to_end(backend.encode([frame(1)]))[0][0]
    assert np.array_equal(backend.read_features(again), values)
    assert np.array_equal(fresh_logits(backend, tokens(1, 9)), logits)
    new = backend.new_slot()
    for call in (
        lambda: backend.slot_length(slot),
        lambda: backend.read_features(features),
        lambda: backend.forward(new, Chunk(tokens(1, 6), (FeatureSpan(0, features, 0, 6),))),
    ):
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
    assert len(run_to_end(backend.encode([frame(1)]))[0]) == 1


def test_an_encode_does_not_go_on_in_a_reopened_backend(backend: Backend) -> None:
    running = backend.encode([frame(1), frame(2)])
    next(running)
    backend.close()
    backend.open()
    with pytest.raises(BackendError):
        run_to_end(running)


# --- encode ---------------------------------------------------------------------------------------


def test_encode_returns_one_handle_per_frame_in_order(backend: Backend) -> None:
    frames = [frame(1), frame(2, 2, 2), frame(3, 5, 3, 1)]
    features = run_to_end(backend.encode(frames))[0]
    assert [each.tokens for each in features] == [6, 1, 15]
    for made, source in zip(features, frames, strict=True):
        alone = run_to_end(backend.encode([source]))[0][0]
        assert np.array_equal(backend.read_features(made), backend.read_features(alone))
    assert run_to_end(backend.encode([])) == ([], 0)


@pytest.mark.parametrize('stage', ['encoded', 'projected'])
def test_features_of_a_frame_are_the_same_bits_in_any_company(backend: Backend, stage: str) -> None:
    alone = backend.read_features(run_to_end(backend.encode([frame(7)]))[0][0], stage)
    for company in (
        [frame(1), frame(7), frame(2)],
        [frame(7), frame(7)],
        [frame(1, 8, 8), frame(2, 2, 2, 1), frame(7)],
    ):
        features = run_to_end(backend.encode(company))[0]
        index = max(
            position
            for position, each in enumerate(company)
            if np.array_equal(each.pixels, frame(7).pixels)
        )
        assert np.array_equal(backend.read_features(features[index], stage), alone)
    assert alone.dtype == np.float32 and np.isfinite(alone).all() and alone.std() > 0


def test_features_do_not_depend_on_how_an_encode_is_sliced(kind: Kind) -> None:
    frames, results, slices = [frame(1, 12, 16), frame(2, 7, 9, 1)], [], []
    for rows in (4096, 64, 50):
        backend = kind.make(dataclasses.replace(CONFIG, encode_patches=rows))
        backend.open()
        features, count = run_to_end(backend.encode(frames))
        results.append(
            [
                backend.read_features(each, stage)
                for each in features
                for stage in ('encoded', 'projected')
            ]
        )
        slices.append(count)
        backend.close()
    for sliced in results[1:]:
        for got, whole in zip(sliced, results[0], strict=True):
            kind.assert_equal(got, whole)
    assert len(frames) <= slices[0]
    assert slices[0] < slices[1] < slices[2] if kind.can_slice else slices == [len(frames)] * 3


def test_encodes_and_chunks_may_alternate(kind: Kind, backend: Backend) -> None:
    expected = [
        backend.read_features(run_to_end(backend.encode([frame(seed)]))[0][0]) for seed in (1, 2)
    ]
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
            backend.forward(slot, Chunk(tokens(1, 12)[position : position + 1]))
            position += 1
    assert all(np.array_equal(results[index], expected[index]) for index in (0, 1))
    last = backend.forward(slot, Chunk(tokens(1, 12)[position:]), [-1])[0]
    assert np.linalg.norm(last - logits) <= max(1e-4, kind.tolerance) * np.linalg.norm(logits)


def test_an_abandoned_encode_leaves_the_backend_usable(backend: Backend) -> None:
    expected = backend.read_features(run_to_end(backend.encode([frame(1)]))[0][0])
    running = backend.encode([frame(5), frame(1)])
    next(running)
    running.close()
    assert np.array_equal(
        backend.read_features(run_to_end(backend.encode([frame(1)]))[0][0]), expected
    )


@pytest.mark.parametrize(
    'bad',
    [
        dataclasses.replace(frame(1), rows=5),
        dataclasses.replace(frame(1), rows=0),
        dataclasses.replace(frame(1), merge_size=0),
        dataclasses.replace(frame(1), merge_size=4),
        dataclasses.replace(frame(1), source=frame(1).pixels[:-1]),
        dataclasses.replace(frame(1), source=frame(1).pixels[:, :-1]),
        dataclasses.replace(frame(1), source=frame(1).pixels.astype(np.float64)),
    ],
)
def test_a_malformed_frame_is_refused_by_number(backend: Backend, bad: object) -> None:
    with pytest.raises(BackendError, match='frame 1 has'):
        run_to_end(backend.encode([frame(1), bad]))  # type: ignore[list-item]


def test_an_unknown_stage_is_refused(backend: Backend) -> None:
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    with pytest.raises(BackendError, match='middle'):
        backend.read_features(features, 'middle')


def test_features_of_another_backend_are_refused(kind: Kind, backend: Backend) -> None:
    other = kind.make(CONFIG)
    other.open()
    features = run_to_end(other.encode([frame(1)]))[0][0]
    slot = backend.new_slot()
    with pytest.raises(BackendError, match='features'):
        backend.forward(slot, Chunk(tokens(1, 6), (FeatureSpan(0, features, 0, 6),)))
    with pytest.raises(BackendError, match='features'):
        backend.read_features(features)
    assert backend.slot_length(slot) == 0
    other.close()
