# SPDX-License-Identifier: Apache-2.0
"""Guesses from a text that resembles the new one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.generation.speculative.prompt_lookup import LONGEST_MATCH, PromptLookup

OLD = list(range(100, 120))


def previous(text: Iterable[int] = OLD) -> PromptLookup:
    return PromptLookup('previous', text, 1, True)


def lookup(text: Iterable[int] = ()) -> PromptLookup:
    return PromptLookup('lookup', text, 2, False)


def fed(source: PromptLookup, tokens: Sequence[int]) -> PromptLookup:
    for token_id in tokens:
        source.add(token_id)
    return source


def right_guesses(source: PromptLookup, tokens: Sequence[int]) -> int:
    """How many of the tokens are guessed when they come."""
    right = 0
    for token_id in tokens:
        right += source.guess(1) == [token_id]
        source.add(token_id)
    return right


def test_the_previous_text_is_followed_from_its_first_token_to_its_last() -> None:
    assert right_guesses(previous(), OLD) == len(OLD)
    assert fed(previous(), OLD).guess(5) == []
    assert previous().guess(100) == OLD


def test_where_one_token_was_replaced_the_text_goes_on_behind_it() -> None:
    assert fed(previous(), [*OLD[:5], 7]).guess(3) == OLD[6:9]
    assert right_guesses(previous(), [*OLD[:5], 7, *OLD[6:]]) == len(OLD) - 1


def test_where_tokens_were_put_in_or_left_out_the_text_is_found_again() -> None:
    assert right_guesses(previous(), [*OLD[:5], 7, 8, 9, *OLD[5:]]) >= len(OLD) - 1
    assert right_guesses(previous(), [*OLD[:5], *OLD[9:]]) == len(OLD) - 4 - 1


def test_of_several_places_the_longest_agreement_counts_and_then_the_nearest() -> None:
    text = [1, 2, 50, 9, 2, 60, 9, 9, 1, 2, 70]
    assert fed(previous(text), [5, 1, 2]).guess(1) == [
        50
    ]  # both agree in two tokens: the nearer to the beginning
    assert fed(previous(text), [9, 9, 1, 2]).guess(1) == [70]


def test_the_match_length_says_how_many_tokens_agree() -> None:
    source = previous()
    assert source.match_length == LONGEST_MATCH
    lengths = []
    for token_id in [100, 7, 102, 103, 104, 105, 106]:
        source.add(token_id)
        lengths.append(source.match_length)
    assert lengths == [4, 0, 1, 2, 3, 4, 4]


def test_a_prompt_is_quoted_from_where_two_tokens_agree() -> None:
    source = lookup([10, 11, 12, 13, 14, 11, 15])
    assert source.guess(5) == [] and source.match_length == 0
    assert fed(source, [11]).guess(5) == []
    assert fed(source, [12]).guess(2) == [13, 14]
    assert source.match_length == 2
    assert fed(source, [13]).match_length == 3


def test_a_text_quotes_itself_and_goes_on_past_its_own_end() -> None:
    source = fed(lookup(), [1, 2, 3, 1, 2])
    assert source.guess(8) == [3, 1, 2, 3, 1, 2, 3, 1]
    assert fed(lookup(), [4, 4, 4]).guess(3) == [4, 4, 4]


def test_the_newest_place_in_a_growing_text_counts() -> None:
    assert fed(lookup(), [1, 2, 50, 8, 1, 2, 60, 9, 1, 2]).guess(1) == [60]


def test_an_empty_text_guesses_nothing() -> None:
    assert fed(previous(()), [1, 2, 1]).guess(4) == []
    assert lookup(()).guess(4) == []


def plain_self_guess(tokens: Sequence[int], length: int) -> set[int]:
    """Returns what stands after the earlier places of the last `length` tokens, written out."""
    tail = list(tokens[-length:])
    return {
        tokens[end]
        for end in range(length, len(tokens))
        if list(tokens[end - length : end]) == tail
    }


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80))
def test_every_guess_stands_after_tokens_that_agree(tokens: list[int]) -> None:
    source = fed(lookup(), tokens)
    guess = source.guess(1)
    if guess:
        assert (
            guess[0] in plain_self_guess(tokens, source.match_length) and source.match_length >= 2
        )
    else:
        assert not plain_self_guess(tokens[-70:], 2)


@given(
    st.lists(st.integers(0, 5), max_size=40),
    st.lists(st.integers(0, 5), max_size=60),
    st.integers(0, 70),
    st.booleans(),
)
def test_a_longer_guess_begins_with_the_shorter_one(
    text: list[int], tokens: list[int], count: int, is_previous: bool
) -> None:
    source = fed(previous(text) if is_previous else lookup(text), tokens)
    assert source.guess(count) == source.guess(70)[:count] and len(source.guess(count)) <= count
    assert 0 <= source.match_length <= LONGEST_MATCH
