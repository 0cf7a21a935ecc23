# SPDX-License-Identifier: Apache-2.0
"""Right and wrong claims and answers are counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from support.random_truths import truth_with, truths

from penguin_ros.simulation.language import caption
from penguin_ros.simulation.questions import QuestionAnswer
from penguin_ros.simulation.scoring import (
    CaptionScore,
    difference,
    is_abstention,
    most_frequent,
    pooled,
    score_answer,
    score_caption,
    wilson,
)
from penguin_ros.simulation.truth import Truth

TRUTH = truth_with(
    ('red', 'box', 'still'), ('blue', 'ball', 'left')
)  # two things, the count and one pair: four facts


@settings(max_examples=200, deadline=None)
@given(truths())
def test_a_true_caption_is_wholly_right(truth: Truth) -> None:
    score = score_caption(caption(truth), truth)
    assert score.right == score.claimed == score.wanted > 0 and score.is_parsed


@pytest.mark.parametrize(
    ('text', 'right', 'claimed'),
    [
        ('There are two things. From left to right: a red box and a blue ball.', 3, 4),
        ('There are two things. From left to right: a blue ball moving left and a red box.', 3, 4),
        ('There is one thing: a red box.', 1, 2),
        (
            'There are three things. From left to right: '
            'a red box, a blue ball moving left and a pink cone.',
            3,
            6,
        ),
        ('There is nothing.', 0, 1),
        ('Something is there.', 0, 0),
    ],
)
def test_captions_lose_what_they_get_wrong_and_what_they_leave_out(
    text: str, right: int, claimed: int
) -> None:
    assert score_caption(text, TRUTH) == CaptionScore(right, claimed, 4, claimed > 0)


def test_answers_are_right_by_value() -> None:
    assert (
        score_answer(' three', 'Three.')
        and score_answer('box.', 'A box.')
        and not score_answer('Left.', 'Right.')
    )
    assert not score_answer('', 'No.') and not score_answer('Yes. No.', 'Yes.')
    assert is_abstention('I cannot see that.') and not is_abstention('Nothing.')


def test_wilson_intervals_have_their_published_values() -> None:
    share = wilson(8, 10)
    assert (share.value, share.low, share.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson(10, 10).high == pytest.approx(1.0) and wilson(10, 10).low == pytest.approx(
        0.7225, abs=1e-4
    )
    assert (wilson(0, 0).value, wilson(0, 0).low, wilson(0, 0).high) == (0.0, 0.0, 1.0)


def test_an_interval_over_scenes_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        per_scene = random.beta(8, 2, 60)
        share = pooled(random.binomial(5, per_scene), [5] * 60, trial)
        covered += share.low <= 0.8 <= share.high
    assert 0.88 < covered / 200 < 0.99


def test_a_paired_difference_is_surer_than_the_scores_it_is_made_of() -> None:
    first = [1.0] * 150 + [0.0] * 50
    second = [0.0] * 4 + first[4:]
    mean, low, high = difference(first, second)
    assert mean == pytest.approx(-0.02) and -0.045 < low < mean < high <= 0.0
    assert difference(first, first) == (0.0, 0.0, 0.0)


def test_the_most_frequent_answer_is_taken_per_kind_and_by_value() -> None:
    asked = [QuestionAnswer('count', '', answer) for answer in ('Two.', 'two', 'Three.')] + [
        QuestionAnswer('yes_no', '', 'No.')
    ]
    assert most_frequent(asked) == {'count': '2', 'yes_no': 'no'}
