# SPDX-License-Identifier: Apache-2.0
"""When a text ends; repetitions are compared with a search written out in the plainest way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.generation.stop_rules import MAX_PERIOD, Repetition, StopRules
from penguin_ros.request import StopReason


def stopped_at(tokens: Sequence[int], max_repeats: int) -> int | None:
    """Returns how many tokens had been added when the repetition was seen."""
    repetition = Repetition(max_repeats)
    return next((count for count, token in enumerate(tokens, 1) if repetition.add(token)), None)


def plain(tokens: Sequence[int], max_repeats: int) -> int | None:
    for count in range(1, len(tokens) + 1):
        for period in range(1, MAX_PERIOD + 1):
            tail = tokens[max(0, count - period * max_repeats) : count]
            if (
                len(tail) == period * max_repeats
                and list(tail) == list(tail[:period]) * max_repeats
            ):
                return count
    return None


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(2, 5))
def test_repetitions_are_seen_at_the_same_token_as_by_a_plain_search(
    tokens: list[int], max_repeats: int
) -> None:
    assert stopped_at(tokens, max_repeats) == plain(tokens, max_repeats)


@given(
    st.lists(st.integers(0, 400), max_size=20),
    st.lists(st.integers(0, 400), min_size=1, max_size=MAX_PERIOD, unique=True),
    st.integers(2, 6),
)
def test_any_period_up_to_the_bound_is_seen_after_any_beginning(
    start: list[int], period: list[int], max_repeats: int
) -> None:
    assert stopped_at(start + period * max_repeats, max_repeats) is not None


def test_a_longer_period_than_the_bound_is_not_seen() -> None:
    assert stopped_at(list(range(MAX_PERIOD)) * 3, 3) == 3 * MAX_PERIOD
    assert stopped_at(list(range(MAX_PERIOD + 1)) * 3, 3) is None


@pytest.mark.parametrize('max_repeats', [0, 1])
def test_below_two_repetitions_nothing_is_called_a_repetition(max_repeats: int) -> None:
    assert stopped_at([7] * 500, max_repeats) is None


def test_the_default_of_eight_stops_at_the_eighth_copy() -> None:
    assert stopped_at([1, 2, 3] * 20, 8) == 24
    assert stopped_at([9] * 20, 8) == 8


def test_the_maximum_of_tokens_ends_a_text() -> None:
    rules = StopRules((), 3, 0)
    assert [rules.add(token) for token in (5, 6, 7)] == [
        StopReason.NONE,
        StopReason.NONE,
        StopReason.MAX_TOKENS,
    ]


@pytest.mark.parametrize('token', [401, 402])
def test_each_stop_token_ends_a_text_even_as_the_last_that_is_allowed(token: int) -> None:
    rules = StopRules((401, 402), 2, 2)
    assert rules.add(5) is StopReason.NONE
    assert rules.add(token) is StopReason.STOP_TOKEN


def test_a_repetition_at_the_maximum_is_called_a_repetition() -> None:
    rules = StopRules((), 2, 2)
    assert [rules.add(5), rules.add(5)] == [StopReason.NONE, StopReason.REPETITION]
