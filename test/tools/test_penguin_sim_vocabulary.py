# SPDX-License-Identifier: Apache-2.0
"""Every word that can be said is known beforehand."""

from __future__ import annotations

import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from penguin_sim_vocabulary import phrases, vocabulary
from support.random_truths import truths

from penguin_ros.simulation.language import caption
from penguin_ros.simulation.questions import questions
from penguin_ros.simulation.truth import Truth

WORDS = set(vocabulary())


@settings(max_examples=300, deadline=None)
@given(truths(), st.integers(0, 10**6))
def test_captions_questions_and_answers_use_words_of_the_vocabulary_only(
    truth: Truth, seed: int
) -> None:
    source = random.Random(seed)
    texts = [
        caption(truth, source),
        *(text for item in questions(truth, source) for text in (item.question, item.answer)),
    ]
    assert {word for text in texts for word in re.findall('[A-Za-z]+', text)} <= WORDS


def test_it_is_small_and_holds_no_word_twice() -> None:
    assert 100 < len(WORDS) == len(vocabulary()) < 250 and list(vocabulary()) == sorted(
        vocabulary()
    )


def test_phrases_hold_each_text_once() -> None:
    assert (
        len(set(phrases())) == len(phrases()) > 60
        and 'I cannot see that.' in phrases()
        and '' not in phrases()
    )
