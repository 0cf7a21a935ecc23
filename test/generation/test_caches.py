# SPDX-License-Identifier: Apache-2.0
"""The generation loop with caches on the scripted backend: what is computed, what is reused, what
is never trusted.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from support.built_inputs import frame
from support.reuse_runs import (
    FIRST,
    PARAMS,
    SECOND,
    THIRD,
    CountingBackend,
    answered,
    new_output,
    question,
    started,
)

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.errors import BackendError, InvalidLogits, RequestCancelled
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.generate import generate


def test_ten_questions_on_one_clip_compute_only_their_own_tokens(
    backend: CountingBackend, caches: Caches
) -> None:
    assert answered(caches, question(10, 11)).stats.reused_tokens == 0
    backend.forget_counts()
    for number in range(10):
        generation = answered(caches, question(20 + number, 11))
        assert generation.stats.reused_frames == 2 and generation.stats.encode_ns <= 1
        assert generation.stats.reused_tokens == generation.stats.prompt_tokens - 2
    # Two tokens of the question, and three generated ones that are appended.
    assert backend.encoded == [] and backend.computed == 10 * (2 + 3)


def test_an_appended_frame_costs_itself_and_what_comes_after_it(
    backend: CountingBackend, caches: Caches
) -> None:
    answered(caches, question(10, 11))
    backend.forget_counts()
    generation = answered(caches, question(10, 11, frames=(FIRST, SECOND, THIRD)))
    assert backend.encoded == [THIRD.key] and generation.stats.reused_frames == 2
    assert backend.computed == THIRD.tokens + 1 + 2 + 3


def test_a_clip_that_slides_encodes_its_new_frame_only(
    backend: CountingBackend, caches: Caches
) -> None:
    answered(caches, question(10, 11))
    backend.forget_counts()
    generation = answered(caches, question(10, 11, frames=(SECOND, THIRD)))
    assert backend.encoded == [THIRD.key] and generation.stats.reused_frames == 1
    assert generation.stats.reused_tokens == 1  # what stands before the first frame


def test_the_same_frame_twice_in_a_prompt_is_encoded_once(
    backend: CountingBackend, caches: Caches
) -> None:
    generation = answered(caches, question(10, frames=(FIRST, SECOND, FIRST)))
    assert backend.encoded == [FIRST.key, SECOND.key] and generation.stats.reused_frames == 1


def test_a_question_beside_a_preempted_caption_computes_only_its_own_tokens(
    backend: CountingBackend, caches: Caches
) -> None:
    clip, output = (FIRST, SECOND, THIRD), new_output()
    expected = answered(Caches(backend), question(10, 11, frames=clip)).token_ids
    caption = started(caches, question(10, 11, frames=clip), output)
    while not output.token_ids:
        next(caption)
    backend.forget_counts()
    assert answered(caches, question(20, 21, frames=clip)).stats.reused_tokens == 22
    assert backend.encoded == [] and backend.computed == 2 + 3
    for _ in caption:
        pass
    assert output.token_ids == expected


def test_a_question_on_a_clip_that_a_caption_is_encoding_goes_on_with_that_encode(
    backend: CountingBackend, caches: Caches
) -> None:
    caption = started(caches, question(10))
    next(caption)
    next(caption)
    slices: list[str] = []
    backend.on_step = slices.append
    answered(caches, question(20))
    assert backend.encoded == [FIRST.key, SECOND.key] and slices.count('encode') == 2 * 3 - 2
    for _ in caption:
        pass
    assert backend.encoded == [FIRST.key, SECOND.key]


@pytest.mark.parametrize('steps', range(1, 16))
@pytest.mark.parametrize('is_thrown', [False, True])
def test_after_a_cancel_at_any_step_what_was_finished_is_used(
    backend: CountingBackend, caches: Caches, steps: int, is_thrown: bool
) -> None:
    running = started(caches, question(10, 11, 11))
    for _ in itertools.islice(running, steps):
        pass
    if is_thrown:
        with pytest.raises(RequestCancelled):
            running.throw(RequestCancelled('no longer wanted'))
    else:
        running.close()
    kept, encoded = caches.stats().prefix_cache.kept_positions, len(backend.encoded)
    generation = answered(caches, question(10, 12, 12))
    assert generation.stats.reused_tokens == min(kept, 16 if kept >= 16 else kept)
    assert len(backend.encoded) == 2 and encoded <= 2


def test_frames_that_the_prefix_covers_need_no_features(backend: CountingBackend) -> None:
    caches = Caches(backend, 0, True)
    answered(caches, question(10))
    gc.collect()
    assert all(handle() is None for handle in backend.handles)
    backend.forget_counts()
    assert answered(caches, question(20)).stats.reused_frames == 2 and backend.encoded == []


def test_after_invalid_logits_nothing_of_that_prompt_is_used(
    backend: CountingBackend, caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = backend.forward

    def broken(slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> np.ndarray:
        return forward(slot, chunk, logits_indices) * np.float32('nan')

    monkeypatch.setattr(backend, 'forward', broken)
    with pytest.raises(InvalidLogits):
        list(started(caches, question(10)))
    monkeypatch.undo()
    assert caches.stats().prefix_cache.kept_slots == 0 and caches.stats().encoder_cache.frames == 0
    backend.forget_counts()
    assert answered(caches, question(10)).stats.reused_tokens == 0 and len(backend.encoded) == 2


@pytest.mark.parametrize('failing', ['encode', 'prefill', 'decode'])
def test_after_a_failure_of_the_backend_the_next_answer_is_right(
    backend: CountingBackend, caches: Caches, failing: str
) -> None:
    answered(caches, question(9))

    def fail(step: str) -> None:
        if step == failing:
            raise BackendError(f'{failing} failed')

    for _ in range(5):
        backend.on_step = fail
        with pytest.raises(BackendError, match=f'{failing} failed'):
            list(started(caches, question(10, 11, frames=(FIRST, THIRD))))
        backend.on_step = lambda step: None
    answered(caches, question(10, 11, frames=(FIRST, THIRD)))


def test_what_was_forgotten_is_computed_again(backend: CountingBackend, caches: Caches) -> None:
    answered(caches, question(10))
    caches.forget()
    gc.collect()
    assert all(handle() is None for handle in backend.handles)
    backend.forget_counts()
    assert answered(caches, question(10)).stats.reused_tokens == 0 and len(backend.encoded) == 2


def test_caches_without_bounds_keep_nothing(backend: CountingBackend) -> None:
    for _ in range(2):
        output = new_output()
        for _ in generate(Caches(backend), question(10), PARAMS, output, lambda: 0):
            pass
        assert output.stats.reused_tokens == output.stats.reused_frames == 0
    gc.collect()
    assert len(backend.encoded) == 4 and all(handle() is None for handle in backend.handles)
    assert len({backend.new_slot() for _ in range(3)}) == 3


def test_a_clip_that_slides_takes_the_slot_of_the_one_before_and_leaves_other_cameras_theirs(
    backend: CountingBackend, caches: Caches
) -> None:
    other = (frame(4, 6, seed=9), frame(4, 6, seed=8))
    answered(caches, question(10, frames=other))
    frames = [frame(4, 6, seed=seed) for seed in range(20, 30)]
    for first in range(8):
        answered(caches, question(10, frames=frames[first : first + 3]))
    counts = caches.stats().prefix_cache
    assert counts.kept_slots == 2 and counts.evicted == 0 and counts.superseded == 7
    assert answered(caches, question(11, frames=other)).stats.reused_tokens == 15


def test_a_preempted_caption_keeps_its_slot_when_its_clip_is_superseded(
    backend: CountingBackend, caches: Caches
) -> None:
    expected, output = answered(Caches(backend), question(10)).token_ids, new_output()
    caption = started(caches, question(10), output)
    while not output.token_ids:
        next(caption)
    answered(caches, question(10, frames=(SECOND, THIRD)))
    for _ in caption:
        pass
    assert output.token_ids == expected and caches.stats().prefix_cache.superseded == 0


def test_an_encode_that_failed_for_a_question_restarts_for_the_caption(
    backend: CountingBackend, caches: Caches
) -> None:
    expected, output = answered(Caches(backend), question(10)).token_ids, new_output()
    caption = started(caches, question(10), output)
    next(caption)

    def fail(step: str) -> None:
        raise BackendError('it failed')

    backend.on_step = fail
    with pytest.raises(BackendError, match='it failed'):
        list(started(caches, question(20)))
    backend.on_step = lambda step: None
    for _ in caption:
        pass
    assert output.token_ids == expected


def test_features_that_another_request_finished_are_given_back_with_the_last_user(
    backend: CountingBackend,
) -> None:
    caches = Caches(backend)
    caption = started(caches, question(10))
    next(caption)
    answered(caches, question(20))
    error = RequestCancelled('no longer wanted')
    with pytest.raises(RequestCancelled):
        caption.throw(error)
    gc.collect()
    assert len(backend.handles) == 2 and all(handle() is None for handle in backend.handles)


def test_what_is_encoded_after_forgetting_is_kept_whoever_started_it(
    backend: CountingBackend, caches: Caches
) -> None:
    caption = started(caches, question(10))
    next(caption)
    caches.forget()
    answered(caches, question(20))
    assert caches.encoder_cache.has(FIRST.key) and caches.encoder_cache.has(SECOND.key)
    for _ in caption:
        pass
