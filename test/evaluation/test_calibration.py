# SPDX-License-Identifier: Apache-2.0
"""Calibration on scores whose probabilities are known to be right, or to be too sure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from penguin_ros.evaluation.calibration import (
    JudgedScore,
    calibration_error,
    figures_of,
    fitted_temperature,
    reliability,
)
from penguin_ros.scoring.choice_score import ChoiceScore


def made(count: int, sharpness: float, answers: Sequence[str] = ('yes', 'no')) -> list[JudgedScore]:
    """Scores whose logarithms are `sharpness` times those of the probabilities with which the
    right answer was drawn; four of a scene.
    """
    random, scores = np.random.default_rng(1), []
    for number in range(count):
        logs = random.normal(0, 2, len(answers))
        logs -= np.log(np.exp(logs).sum())
        right = int(random.choice(len(answers), p=np.exp(logs)))
        score = ChoiceScore(tuple(answers), tuple((sharpness * logs).tolist()))
        scores.append(JudgedScore(number // 4, 'kind', score, right))
    return scores


@pytest.mark.parametrize(
    ('sharpness', 'answers'), [(0.5, ('yes', 'no')), (3.0, ('a', 'b', 'c', 'd')), (1.0, ('a', 'b'))]
)
def test_the_fitted_temperature_is_by_how_much_a_model_is_too_sure(
    sharpness: float, answers: tuple[str, ...]
) -> None:
    fitted = fitted_temperature(made(1500, sharpness, answers))
    assert fitted == pytest.approx(sharpness, rel=0.15)
    others = made(800, sharpness, answers)
    before, after = figures_of(others, 1.0), figures_of(others, fitted)
    assert after.error.value < 0.04 and after.right == before.right
    if sharpness != 1.0:
        assert before.error.value > 1.5 * after.error.value
        assert after.brier.value < before.brier.value


def test_where_every_answer_is_right_a_model_is_not_made_certain() -> None:
    right = [each for each in made(400, 1.0) if each.judged[0] > 0.9 and each.right == 0]
    assert 0.5 < fitted_temperature(right) < 1


def test_without_scores_the_temperature_is_one() -> None:
    assert fitted_temperature([]) == 1.0


def test_the_error_is_the_gap_of_each_tenth_by_its_share() -> None:
    probabilities, came_true = np.array([0.95, 0.95, 0.95, 0.95, 0.1]), np.array([1, 1, 1, 0, 1.0])
    assert calibration_error(probabilities, came_true) == pytest.approx((4 * 0.2 + 0.9) / 5)
    bins = reliability(probabilities, came_true)
    assert [(each.count, each.true) for each in bins] == [(1, 1.0), (4, 0.75)]
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0


def test_yes_is_judged_by_its_own_probability_and_choices_by_the_most_probable_one() -> None:
    logs = math.log(0.2), math.log(0.8)
    yes = JudgedScore(0, 'yes_no', ChoiceScore(('yes', 'no'), logs), 1)
    assert yes.judged == (pytest.approx(0.2), False) and yes.brier == pytest.approx(0.04)
    turned = JudgedScore(0, 'yes_no', ChoiceScore(('No', 'Yes'), logs), 1)
    assert turned.judged == (pytest.approx(0.8), True)
    choice = JudgedScore(0, 'colour', ChoiceScore(('red', 'blue'), logs), 0)
    assert choice.judged == (pytest.approx(0.8), False)
    assert choice.brier == pytest.approx(2 * 0.8**2)


def test_intervals_are_wider_for_fewer_scenes() -> None:
    many, few = figures_of(made(1000, 2.0), 1.0), figures_of(made(80, 2.0), 1.0)
    assert many.scenes == 250 and few.scenes == 20
    for figures in (many, few):
        assert figures.brier.low <= figures.brier.value <= figures.brier.high
    assert few.brier.high - few.brier.low > 2 * (many.brier.high - many.brier.low)
