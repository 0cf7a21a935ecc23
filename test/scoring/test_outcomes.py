# SPDX-License-Identifier: Apache-2.0
"""Which token sequences stand for which answer."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.scoring.outcomes import Outcomes, is_yes_no, outcomes_of

STOPS = (900, 901)


def encode(text: str) -> list[int]:
    """One token a character."""
    return [ord(character) for character in text]


def outcomes(*choices: str, has_cannot_tell: bool = False) -> Outcomes:
    return outcomes_of(choices, encode, STOPS, has_cannot_tell)


def texts(sequences: Sequence[tuple[int, ...]]) -> set[str]:
    """The wordings of sequences, each of which must be there with either stop token."""
    found = {''.join(map(chr, sequence[:-1])) for sequence in sequences}
    assert {(*encode(text), stop) for text in found for stop in STOPS} == set(sequences)
    return found


def test_a_choice_is_worded_with_either_first_letter_and_with_or_without_a_full_stop() -> None:
    assert texts(outcomes('red', 'blue').sequences[0]) == {'red', 'Red', 'red.', 'Red.'}


def test_a_text_that_is_a_choice_is_no_wording_of_another_one() -> None:
    red, large, stopped = outcomes('red', 'Red', 'red.').sequences
    assert texts(red) == {'red', 'Red.'}
    assert texts(large) == {'Red'} and texts(stopped) == {'red.'}


def test_yes_and_no_are_words_in_any_case_and_with_a_space_before_them_and_have_no_end() -> None:
    made = outcomes()
    assert made.choices == ('yes', 'no')
    words = [{''.join(map(chr, sequence)) for sequence in each} for each in made.sequences]
    assert words[0] == {'yes', 'Yes', 'YES', ' yes', ' Yes', ' YES'}
    assert words[1] == {'no', 'No', 'NO', ' no', ' No', ' NO'}
    turned = outcomes('No', 'YES')
    assert turned.choices == ('No', 'YES')
    assert turned.sequences == (made.sequences[1], made.sequences[0])


def test_yes_and_no_among_others_are_choices_like_these() -> None:
    assert texts(outcomes('yes', 'no', 'maybe').sequences[0]) == {'yes', 'Yes', 'yes.', 'Yes.'}
    assert not is_yes_no(('yes', 'no', 'maybe')) and is_yes_no((' No', 'yEs'))


def test_saying_that_it_cannot_be_told_is_none_of_the_choices_unless_it_is_one() -> None:
    assert outcomes('red').cannot_tell == ()
    made = outcomes('red', 'Unknown', has_cannot_tell=True)
    assert 'I cannot see that.' in texts(made.cannot_tell)
    assert not set(made.cannot_tell) & set(made.sequences[1])


words = st.text(st.sampled_from('aAb. '), min_size=1, max_size=5)


@given(st.lists(words, min_size=1, max_size=6, unique=True))
def test_no_sequence_is_there_twice_and_none_of_a_choice_begins_another(choices: list[str]) -> None:
    made = outcomes(*choices, has_cannot_tell=True)
    every = [sequence for each in (*made.sequences, made.cannot_tell) for sequence in each]
    assert len(set(every)) == len(every)
    assert not any(
        first != second and second[: len(first)] == first for first in every for second in every
    )
    for choice, sequences in zip(choices, made.sequences, strict=True):
        assert (*encode(choice), STOPS[0]) in sequences
