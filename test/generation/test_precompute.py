# SPDX-License-Identifier: Apache-2.0
"""What is precomputed before a request: features and prefixes, both stoppable at any step."""

from __future__ import annotations

import itertools
from collections.abc import Generator

import numpy as np
import pytest
from support.built_inputs import inputs
from support.reuse_runs import FIRST, SECOND, THIRD, CountingBackend, answered, question, started

from penguin_ros.errors import NoFreeSlot, PromptTooLong
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.kv_slot import text_keys
from penguin_ros.generation.precompute import precompute_features, precompute_prefix
from penguin_ros.model_inputs import FramePatches


def result(steps: Generator[None, None, int]) -> tuple[int, int]:
    """Returns what the generator returns, and how often it yielded."""
    for count in itertools.count():
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
    raise AssertionError


def test_a_request_for_precomputed_frames_encodes_nothing(
    backend: CountingBackend, caches: Caches
) -> None:
    assert result(precompute_features(caches, [FIRST, SECOND])) == (2, 6)
    assert result(precompute_features(caches, [FIRST, SECOND])) == (0, 0)
    backend.forget_counts()
    assert answered(caches, question(10)).stats.reused_frames == 2 and backend.encoded == []


def test_a_request_goes_on_with_an_encode_that_precomputing_started(
    backend: CountingBackend, caches: Caches
) -> None:
    steps = precompute_features(caches, [FIRST, SECOND, THIRD])
    next(steps)
    next(steps)
    slices: list[str] = []
    backend.on_step = slices.append
    answered(caches, question(10))
    assert slices.count('encode') == 4
    assert result(steps) == (
        2,
        3,
    )  # it had started the first one, and the second one is there by now
    assert backend.encoded == [FIRST.key, SECOND.key, THIRD.key]


def test_an_encode_that_everybody_left_restarts(backend: CountingBackend, caches: Caches) -> None:
    steps = precompute_features(caches, [FIRST])
    next(steps)
    steps.close()
    assert backend.encoded == [] and not caches.encoder_cache.has(FIRST.key)
    assert result(precompute_features(caches, [FIRST])) == (1, 3)


def test_a_question_on_a_precomputed_clip_costs_its_own_tokens(
    backend: CountingBackend, caches: Caches
) -> None:
    clip = (FIRST, SECOND, THIRD)
    asked = question(10, 11, frames=clip)
    end = len(asked.prompt.token_ids) - 3
    assert result(precompute_prefix(caches, asked, 8))[0] == end
    backend.forget_counts()
    generation = answered(caches, question(20, 21, frames=clip))
    assert generation.stats.reused_tokens == end and generation.stats.reused_frames == 3
    assert backend.encoded == [] and backend.computed == 3 + 3


def test_precomputing_again_computes_nothing(backend: CountingBackend, caches: Caches) -> None:
    for expected in (14, 0):
        assert result(precompute_prefix(caches, question(10), 8))[0] == expected
    answered(caches, question(10))
    backend.forget_counts()
    assert result(precompute_prefix(caches, question(11), 8)) == (0, 0) and backend.computed == 0


@pytest.mark.parametrize('count', range(12))
def test_ending_it_at_any_step_keeps_what_is_finished(
    backend: CountingBackend, caches: Caches, count: int
) -> None:
    steps = precompute_prefix(caches, question(10), 5)
    for _ in itertools.islice(steps, count):
        pass
    steps.close()
    kept = caches.stats().prefix_cache.kept_positions
    assert kept == min(14, 5 * max(0, count - 6))
    assert answered(caches, question(10)).stats.reused_tokens == kept


def test_with_all_slots_in_use_frames_are_encoded_and_no_more(
    backend: CountingBackend, caches: Caches
) -> None:
    for number in range(3):
        caches.prefix_cache.acquire(text_keys(np.array([number, 5])), 0)
    with pytest.raises(NoFreeSlot):
        result(precompute_prefix(caches, question(10), 8))
    assert caches.encoder_cache.has(FIRST.key) and caches.encoder_cache.has(SECOND.key)


def test_between_two_steps_it_holds_no_slot(backend: CountingBackend, caches: Caches) -> None:
    steps = precompute_prefix(caches, question(10), 5)
    for _ in range(7):
        next(steps)
    for number in range(3):
        caches.prefix_cache.acquire(text_keys(np.array([number, 5])), 0)
    backend.forget_counts()
    assert result(steps) == (5, 0) and backend.computed == 0


@pytest.mark.parametrize(('frames', 'expected'), [((THIRD,), 14), ((FIRST, SECOND), 5)])
def test_it_goes_on_unless_a_question_took_its_slot(
    backend: CountingBackend, caches: Caches, frames: tuple[FramePatches, ...], expected: int
) -> None:
    steps = precompute_prefix(caches, question(10), 5)
    for _ in range(7):
        next(steps)
    answered(caches, question(20, frames=frames))
    assert result(steps)[0] == expected
    assert answered(caches, question(30)).stats.reused_tokens >= 14


def test_a_prompt_without_frames_has_nothing_to_precompute(
    backend: CountingBackend, caches: Caches
) -> None:
    assert result(precompute_prefix(caches, inputs([1, 2, 3]), 8)) == (0, 0)
    with pytest.raises(PromptTooLong):
        next(precompute_prefix(caches, inputs(range(96)), 8))


def test_a_preempted_caption_is_not_disturbed(backend: CountingBackend, caches: Caches) -> None:
    caption = started(caches, question(10))
    for _ in range(8):
        next(caption)
    assert result(precompute_prefix(caches, question(10, frames=(FIRST, SECOND, THIRD)), 8))[0] > 0
    assert answered(caches, question(10)).token_ids
    assert len(list(caption)) > 0
