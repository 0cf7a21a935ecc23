# SPDX-License-Identifier: Apache-2.0
"""The formulas from masses to probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.scoring.choice_score import MOST_BIAS, NEVER, ChoiceScore, log_sum


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_yes_is_the_sigmoid_of_the_log_odds_less_those_on_a_neutral_clip() -> None:
    score = ChoiceScore(('yes', 'no'), (math.log(0.3), math.log(0.1)), NEVER, (-1.0, -0.25), 2.0)
    odds = math.log(0.3) - math.log(0.1)
    assert score.probability_of('yes') == pytest.approx(sigmoid((odds + 0.75) / 2))
    assert score.raw_probability_of('yes') == pytest.approx(sigmoid(odds / 2))
    assert score.other_mass == pytest.approx(0.6) and score.choice == 'yes'


def test_no_more_than_a_bounded_part_of_a_neutral_clip_is_subtracted() -> None:
    """A model that is sure of its no about a grey clip stays sure of the same no elsewhere."""
    score = ChoiceScore(('yes', 'no'), (-9.0, -0.001), NEVER, (-8.0, -0.002))
    assert score.probability_of('yes') == pytest.approx(sigmoid(-8.999 + 2 * MOST_BIAS))
    three = ChoiceScore(('a', 'b', 'c'), (-1.0, -1.0, -1.0), NEVER, (-1.1, -1.0, -0.9))
    expected = [math.exp(0.1), 1, math.exp(-0.1)]
    assert three.probabilities == pytest.approx([each / sum(expected) for each in expected])


def test_cannot_tell_stands_against_all_choices_and_what_is_left_is_other_mass() -> None:
    score = ChoiceScore(('a', 'b'), (math.log(0.2), math.log(0.1)), math.log(0.6))
    assert score.cannot_tell == pytest.approx(0.6 / 0.9)
    assert score.other_mass == pytest.approx(0.1)
    assert score.probabilities == pytest.approx((2 / 3, 1 / 3))


logs = st.floats(-2000, 0) | st.just(NEVER)


@given(
    masses=st.lists(logs, min_size=1, max_size=6),
    cannot=logs,
    temperature=st.floats(0.05, 20),
    seed=st.integers(0, 9),
)
def test_probabilities_sum_to_one_whatever_the_masses(
    masses: list[float], cannot: float, temperature: float, seed: int
) -> None:
    bias = tuple(-float(seed * number) for number in range(len(masses)))
    names = tuple(map(str, range(len(masses))))
    score = ChoiceScore(names, tuple(masses), cannot, bias, temperature)
    for probabilities in (score.probabilities, score.raw_probabilities):
        assert math.fsum(probabilities) == pytest.approx(1)
        assert all(0 <= each <= 1 for each in probabilities)
    assert score.choice in names
    assert 0 <= score.cannot_tell <= 1 and 0 <= score.other_mass <= 1


@given(st.lists(st.floats(-50, 0), max_size=8))
def test_a_sum_of_logarithms_is_that_of_the_probabilities(found: list[float]) -> None:
    expected = math.fsum(map(math.exp, found))
    assert math.exp(log_sum(found)) == pytest.approx(expected, rel=1e-9)
