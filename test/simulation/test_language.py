# SPDX-License-Identifier: Apache-2.0
"""Captions say what is true, and their facts can be read back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_truths import truth_with, truths

from penguin_ros.simulation.language import Facts, caption, facts, parse_caption
from penguin_ros.simulation.truth import Truth


@settings(max_examples=1500, deadline=None)
@given(truths(), st.integers(0, 10**6))
def test_every_caption_gives_exactly_its_facts_back(truth: Truth, seed: int) -> None:
    assert (
        parse_caption(caption(truth, random.Random(seed)))
        == facts(truth)
        == parse_caption(caption(truth))
    )


def test_the_plainest_wording() -> None:
    truth = truth_with(('red', 'box', 'still'), ('blue', 'ball', 'left'), ('green', 'cone', 'gone'))
    assert caption(truth) == (
        'There are two things. From left to right: a red box and a blue ball moving left. '
        'A green cone left the view.'
    )
    assert caption(truth_with()) == 'There is nothing.'
    assert (
        caption(truth_with(('red', 'box', 'stopped')))
        == 'There is one thing: a red box that stopped.'
    )


def test_captions_vary_and_repeat_by_seed() -> None:
    truth = truth_with(
        ('red', 'box', 'toward'), ('blue', 'ball', 'still'), ('green', 'cone', 'gone')
    )
    assert len({caption(truth, random.Random(seed)) for seed in range(60)}) > 12
    assert caption(truth, random.Random(3)) == caption(truth, random.Random(3))


def test_facts_are_what_the_words_say_even_where_they_contradict_each_other() -> None:
    found = parse_caption(
        'I see three things, from left to right: a red box and a blue ball moving left.'
    )
    assert found == Facts(
        frozenset({('red', 'box', 'still'), ('blue', 'ball', 'left')}),
        3,
        (('red', 'box'), ('blue', 'ball')),
    )
    assert found.claims() == {
        ('thing', 'red', 'box', 'still'),
        ('thing', 'blue', 'ball', 'left'),
        ('count', 3),
        ('order', ('red', 'box'), ('blue', 'ball')),
    }


@pytest.mark.parametrize(
    'text',
    [
        '',
        'A red box.',
        'There is one thing: a mauve box.',
        'There is one thing: a red box moving up.',
        'There is one thing: a red box. And more.',
        'There is one thing: a red box',
        'There are two things. From left to right: a red box and',
        'There is one thing: a red box. A blue ball left the view. A blue',
        'There are nine things. From left to right: a red box.',
    ],
)
def test_what_is_not_of_the_grammar_has_no_facts(text: str) -> None:
    assert parse_caption(text) is None
