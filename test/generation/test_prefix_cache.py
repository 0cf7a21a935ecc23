# SPDX-License-Identifier: Apache-2.0
"""The prefix cache on the scripted backend: which slot a prompt gets, what is never touched, what
is counted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, NoFreeSlot
from penguin_ros.generation.kv_slot import KVSlot, shared_prefix_length, text_keys
from penguin_ros.generation.prefix_cache import WORTH_COPYING, PrefixCache
from penguin_ros.testing.scripted_backend import ScriptedBackend

CLIP, OTHER = list(range(100, 140)), list(range(200, 240))


def opened(slots: int) -> ScriptedBackend:
    backend = ScriptedBackend(ModelConfig(max_length=64, kv_slots=slots))
    backend.open()
    return backend


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    made = opened(2)
    yield made
    made.close()


def started(cache: PrefixCache, ids: list[int], shared: int = len(CLIP)) -> tuple[KVSlot, int]:
    """Returns a slot that holds the prompt, and how many positions were there."""
    slot = cache.acquire(text_keys(np.array(ids)), shared)
    reused = slot.length
    slot.forward(Chunk(np.array(ids[reused:])))
    return slot, reused


def asked(cache: PrefixCache, ids: list[int], shared: int = len(CLIP)) -> int:
    """Computes the prompt and releases its slot; returns how many positions were there."""
    slot, reused = started(cache, ids, shared)
    cache.release(slot)
    return reused


def test_a_second_question_on_a_clip_goes_on_in_its_slot(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    assert asked(cache, [*CLIP, 1, 2, 3]) == 0
    for question in ([4, 5], [6, 6, 6], [7, 8, 9, 10]):
        assert asked(cache, [*CLIP, *question]) == len(CLIP)
    counts = cache.stats()
    assert (counts.fresh, counts.continued, counts.forked, counts.evicted) == (1, 3, 0, 0)
    assert (counts.kept_slots, counts.kept_positions) == (1, len(CLIP) + 4)
    assert (counts.reused, counts.computed) == (3 * len(CLIP), len(CLIP) + 3 + 2 + 3 + 4)


def test_of_a_prompt_that_is_asked_again_the_last_two_positions_are_computed(
    backend: ScriptedBackend,
) -> None:
    cache = PrefixCache(backend, True)
    assert [asked(cache, [*CLIP, 1, 2]) for _ in range(3)] == [0, len(CLIP), len(CLIP)]


def test_an_appended_clip_goes_on_after_what_it_shares(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    asked(cache, [*CLIP[:20], 1, 2], 20)
    assert asked(cache, [*CLIP[:30], 3, 4], 30) == 20
    assert asked(cache, [*CLIP, 3, 4]) == 30


def test_generated_text_is_reused_by_the_next_turn(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    slot, _ = started(cache, [*CLIP, 1])
    for token_id in (7, 8, 9):
        slot.forward_greedy(Chunk(np.array([token_id])))
    cache.release(slot)
    assert asked(cache, [*CLIP, 1, 7, 8, 9, 5, 6]) == len(CLIP) + 4


def test_truncated_tokens_are_no_part_of_what_is_kept(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    slot, _ = started(cache, [*CLIP, 1])
    slot.forward(Chunk(np.array([7, 8, 9])), range(3))
    slot.truncate(len(CLIP) + 2)
    slot.forward(Chunk(np.array([5])))
    cache.release(slot)
    assert asked(cache, [*CLIP, 1, 7, 8, 9]) == len(CLIP) + 2


def test_a_slot_in_use_is_copied_and_stays_as_it_is(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    caption, _ = started(cache, [*CLIP, 1, 2])
    assert asked(cache, [*CLIP, 3, 0]) == len(CLIP)
    assert caption.length == backend.slot_length(caption.slot_id) == len(CLIP) + 2
    assert cache.stats().forked == 1
    cache.release(caption)


def test_without_a_slot_that_may_be_taken_there_is_none(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    for question in ([1], [2]):
        started(cache, [*CLIP, *question])
    with pytest.raises(NoFreeSlot):
        cache.acquire(text_keys(np.array([*CLIP, 3, 0])), len(CLIP))


def test_another_clip_takes_a_free_slot_before_it_destroys_one(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    asked(cache, [*CLIP, 1, 0])
    assert asked(cache, [*CLIP[:5], *OTHER, 1]) == 0  # so few are not worth a copy
    assert asked(cache, [*CLIP, 2, 0]) == len(CLIP)
    assert cache.stats().evicted == 0


def test_the_least_recently_used_slot_is_evicted(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    asked(cache, [*CLIP, 1, 0])
    asked(cache, [*OTHER, 1, 0])
    asked(cache, [*CLIP, 2, 0])
    assert asked(cache, list(range(300, 340))) == 0
    assert asked(cache, [*CLIP, 3, 0]) == len(CLIP)
    assert asked(cache, [*OTHER, 3, 0]) == 0
    assert cache.stats().evicted == 2


def test_a_shared_half_of_a_clip_is_copied_and_both_stay(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    asked(cache, [*CLIP, 1, 0])
    half = [*CLIP[:WORTH_COPYING], *OTHER[:10]]
    assert asked(cache, [*half, 1, 0], len(half)) == WORTH_COPYING
    assert asked(cache, [*CLIP, 2, 0]) == len(CLIP) and asked(
        cache, [*half, 2, 0], len(half)
    ) == len(half)


def test_a_copy_is_a_use_of_its_source() -> None:
    backend = opened(3)
    cache = PrefixCache(backend, True)
    asked(cache, [*CLIP, 1, 0])
    asked(cache, [*OTHER, 1, 0])
    half = [*CLIP[:20], *range(300, 320)]
    asked(cache, half, len(half))
    asked(cache, list(range(400, 440)))  # one slot must be evicted
    assert asked(cache, [*CLIP, 2, 0]) == len(CLIP) and asked(cache, [*OTHER, 2, 0]) == 0


def test_a_slot_that_failed_in_a_call_is_not_used_again(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    slot, _ = started(cache, [*CLIP, 1, 0])

    def fail(step: str) -> None:
        raise BackendError('it failed')

    backend.on_step = fail
    with pytest.raises(BackendError):
        slot.forward(Chunk(np.array([5])))
    backend.on_step = lambda step: None
    cache.release(slot)
    assert asked(cache, [*CLIP, 2, 0]) == 0 and cache.stats().dropped == 1


def test_an_empty_slot_is_given_back(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    cache.release(cache.acquire(text_keys(np.array([1, 2])), 0))
    assert cache.stats().kept_slots == 0 and len({backend.new_slot(), backend.new_slot()}) == 2


def test_what_was_to_be_forgotten_is_not_found_and_freed(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    asked(cache, [*CLIP, 1, 0])
    running, _ = started(cache, [*OTHER, 1, 0])
    cache.forget()
    assert asked(cache, [*CLIP, 1, 0]) == 0 and asked(cache, [*OTHER, 2, 0]) == 0
    running.forward(Chunk(np.array([5])))  # it goes on
    cache.release(running)
    assert cache.stats().kept_slots == 1 and asked(cache, [*OTHER, 2, 3]) == len(OTHER)


def test_a_cache_that_keeps_nothing_gives_every_slot_back(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, False)
    assert [asked(cache, [*CLIP, 1, 0]) for _ in range(5)] == [0] * 5
    assert cache.stats().kept_slots == 0 and len({backend.new_slot(), backend.new_slot()}) == 2


def test_slots_that_somebody_else_took_are_not_needed(backend: ScriptedBackend) -> None:
    cache = PrefixCache(backend, True)
    backend.new_slot()
    asked(cache, [*CLIP, 1, 0])
    assert asked(cache, [*OTHER, 1, 0]) == 0 and asked(cache, [*OTHER, 2, 0]) == len(OTHER)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(
            st.sampled_from(['ask', 'hold', 'let go', 'forget']),
            st.integers(0, 2),
            st.integers(0, 40),
            st.integers(0, 5),
        ),
        max_size=40,
    ),
)
def test_no_slot_ever_holds_anything_but_its_own_prompt(
    slots: int, operations: list[tuple[str, int, int, int]]
) -> None:
    backend = opened(slots)
    truth = opened(slots)
    cache, held = PrefixCache(backend, True), list[tuple[KVSlot, list[int]]]()
    for operation, clip, length, question in operations:
        ids = [*[CLIP, OTHER, CLIP[:20] + OTHER[20:]][clip][:length], 50 + question, 60]
        if operation == 'forget':
            cache.forget()
        elif operation == 'let go' and held:
            cache.release(held.pop(question % len(held))[0])
        elif operation in ('ask', 'hold') and len(held) < slots:
            slot, reused = started(cache, ids, length)
            assert reused < len(ids) and slot.length == backend.slot_length(slot.slot_id) == len(
                ids
            )
            assert shared_prefix_length(slot.keys, text_keys(np.array(ids))) == len(ids)
            held.append((slot, ids))
            if operation == 'ask':
                cache.release(held.pop()[0])
        for slot, ids in held:
            expected = truth.new_slot()
            assert np.array_equal(
                slot.forward(Chunk(np.array([3])), (-1,)),
                truth.forward(expected, Chunk(np.array([*ids, 3])), (-1,)),
            )
            slot.truncate(len(ids))
            truth.free_slot(expected)
        assert cache.stats().kept_slots + len(held) <= slots
    counts = cache.stats()
    assert counts.continued + counts.forked + counts.fresh >= counts.kept_slots


@pytest.mark.parametrize('position', range(0, len(CLIP), 3))
def test_one_other_position_key_ends_what_is_shared(
    backend: ScriptedBackend, position: int
) -> None:
    cache = PrefixCache(backend, True)
    asked(cache, [*CLIP, 1, 0])
    changed = CLIP.copy()
    changed[position] += 200
    reused = asked(cache, [*changed, 1])
    assert reused == (position if position >= WORTH_COPYING else 0)
