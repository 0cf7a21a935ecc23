# SPDX-License-Identifier: Apache-2.0
"""What is remembered of earlier texts, and how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.generation.speculative.draft_history import (
    LOOKUP,
    MAX_PROMPTS,
    MAX_TOKENS,
    PREVIOUS,
    PRIOR_RATES,
    AcceptanceRate,
    DraftHistory,
)
from penguin_ros.generation.speculative.prompt_lookup import LONGEST_MATCH


def kept(
    histories: DraftHistory, key: str, tokens: list[int], is_complete: bool = True
) -> tuple[int, ...]:
    """Returns what is remembered under the key after this text."""
    histories.for_prompt(key).keep(tokens, is_complete)
    return histories.for_prompt(key).previous


def test_each_prompt_has_its_own_last_text() -> None:
    histories = DraftHistory()
    kept(histories, 'front', [1, 2])
    kept(histories, 'rear', [3])
    assert kept(histories, 'front', [4, 5]) == (4, 5)
    assert (
        histories.for_prompt('rear').previous == (3,) and histories.for_prompt('new').previous == ()
    )


def test_a_text_that_was_cut_short_replaces_a_shorter_one_only() -> None:
    histories = DraftHistory()
    assert kept(histories, 'front', [1, 2, 3], is_complete=False) == (1, 2, 3)
    assert kept(histories, 'front', [4], is_complete=False) == (1, 2, 3)
    assert kept(histories, 'front', [], is_complete=False) == (1, 2, 3)
    assert kept(histories, 'front', [4]) == (4,)


def test_histories_are_bounded_and_the_least_recently_used_is_evicted_first() -> None:
    histories = DraftHistory()
    for number in range(MAX_PROMPTS):
        kept(histories, f'{number}', [number])
    histories.for_prompt('0')
    kept(histories, 'one more', [9])
    assert histories.for_prompt('0').previous == (0,)
    assert histories.for_prompt('1').previous == ()
    assert len(kept(histories, 'long', list(range(10 * MAX_TOKENS)))) == MAX_TOKENS


def test_costs_belong_to_the_machine_and_rates_to_the_prompt() -> None:
    histories = DraftHistory()
    front, rear = histories.for_prompt('front'), histories.for_prompt('rear')
    assert front.costs is rear.costs and front.acceptance is not rear.acceptance


@pytest.mark.parametrize('name', [PREVIOUS, LOOKUP])
@pytest.mark.parametrize('match_length', range(LONGEST_MATCH + 1))
def test_rates_begin_with_the_prior_and_go_to_what_is_seen(name: str, match_length: int) -> None:
    always, never = AcceptanceRate(), AcceptanceRate()
    assert always.rate(name, match_length) == pytest.approx(PRIOR_RATES[name][match_length])
    for _ in range(200):
        always.note(name, match_length, True)
        never.note(name, match_length, False)
    assert always.rate(name, match_length) > 0.99 and never.rate(name, match_length) < 0.01
    for _ in range(60):
        always.note(name, match_length, False)
    assert always.rate(name, match_length) < 0.25  # what was long ago no longer counts


@given(
    st.lists(
        st.tuples(st.sampled_from([PREVIOUS, LOOKUP]), st.integers(0, LONGEST_MATCH), st.booleans())
    )
)
def test_rates_are_probabilities(guesses: list[tuple[str, int, bool]]) -> None:
    acceptance = AcceptanceRate()
    for guess in guesses:
        acceptance.note(*guess)
    assert all(
        0 <= acceptance.rate(name, match_length) <= 1
        for name in PRIOR_RATES
        for match_length in range(LONGEST_MATCH + 1)
    )
