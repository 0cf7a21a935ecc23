# SPDX-License-Identifier: Apache-2.0
"""What is remembered of the last texts, and how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.generation.speculative.draft_history import (
    LOOKUP,
    MAX_TEXTS,
    MAX_TOKENS,
    PREVIOUS,
    PRIORS,
    AcceptanceRate,
    DraftHistory,
)
from penguin_ros.generation.speculative.prompt_lookup import STRONGEST
from penguin_ros.generation.stats import GenerationStats
from penguin_ros.request import StopReason


def kept(
    memory: DraftHistory, key: str, tokens: list[int], reason: StopReason = StopReason.STOP_TOKEN
) -> tuple[int, ...]:
    """What is remembered under the key after this text."""
    memory.keep(memory.record(key), GenerationStats(tokens, stop_reason=reason))
    return memory.record(key).previous


def test_each_prompt_has_its_own_last_text() -> None:
    memory = DraftHistory()
    kept(memory, 'front', [1, 2])
    kept(memory, 'rear', [3])
    assert kept(memory, 'front', [4, 5]) == (4, 5)
    assert memory.record('rear').previous == (3,) and memory.record('new').previous == ()


def test_a_text_that_was_cut_short_replaces_a_shorter_one_only() -> None:
    memory = DraftHistory()
    assert kept(memory, 'front', [1, 2, 3], StopReason.NONE) == (1, 2, 3)
    assert kept(memory, 'front', [4], StopReason.NONE) == (1, 2, 3)
    assert kept(memory, 'front', [], StopReason.NONE) == (1, 2, 3)
    assert kept(memory, 'front', [4], StopReason.MAX_TOKENS) == (4,)


def test_memory_is_bounded_and_the_longest_unused_text_goes_first() -> None:
    memory = DraftHistory()
    for number in range(MAX_TEXTS):
        kept(memory, f'{number}', [number])
    memory.record('0')
    kept(memory, 'one more', [9])
    assert memory.record('0').previous == (0,)
    assert memory.record('1').previous == ()
    assert len(kept(memory, 'long', list(range(10 * MAX_TOKENS)))) == MAX_TOKENS


def test_costs_belong_to_the_machine_and_rates_to_the_prompt() -> None:
    memory = DraftHistory()
    front, rear = memory.record('front'), memory.record('rear')
    assert front.costs is rear.costs and front.acceptance is not rear.acceptance


@pytest.mark.parametrize('name', [PREVIOUS, LOOKUP])
@pytest.mark.parametrize('match_length', range(STRONGEST + 1))
def test_rates_begin_with_what_is_believed_and_go_to_what_is_seen(
    name: str, match_length: int
) -> None:
    always, never = AcceptanceRate(), AcceptanceRate()
    assert always.rate(name, match_length) == pytest.approx(PRIORS[name][match_length])
    for _ in range(200):
        always.note(name, match_length, True)
        never.note(name, match_length, False)
    assert always.rate(name, match_length) > 0.99 and never.rate(name, match_length) < 0.01
    for _ in range(60):
        always.note(name, match_length, False)
    assert always.rate(name, match_length) < 0.25  # what was long ago no longer counts


@given(
    st.lists(
        st.tuples(st.sampled_from([PREVIOUS, LOOKUP]), st.integers(0, STRONGEST), st.booleans())
    )
)
def test_rates_are_probabilities(guesses: list[tuple[str, int, bool]]) -> None:
    acceptance = AcceptanceRate()
    for guess in guesses:
        acceptance.note(*guess)
    assert all(
        0 <= acceptance.rate(name, match_length) <= 1
        for name in PRIORS
        for match_length in range(STRONGEST + 1)
    )
