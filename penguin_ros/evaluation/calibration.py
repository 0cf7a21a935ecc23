# SPDX-License-Identifier: Apache-2.0
"""How well probabilities agree with how often they are right: reliability, expected calibration
error, Brier score, and the temperature that makes them agree best.

Yes and no are one probability each, that of yes, against whether yes is right. Choices are judged
by the one that is most probable: how sure the model is of it, against whether it is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from penguin_ros.scoring.choice_score import ChoiceScore
from penguin_ros.scoring.outcomes import is_yes_no

BINS = 10
RESAMPLES = 500
SPREAD = 0.25
"""The standard deviation of the logarithm of a temperature, as believed beforehand. Where nearly
every answer is right, any small temperature fits, and the next wrong answer would be a certain one.
"""

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.1, 10.0
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class JudgedScore:
    """What a model gave for one question about the scene of a seed, and the index of the `right`
    choice.
    """

    seed: int
    kind: str
    score: ChoiceScore
    right: int

    def at(self, temperature: float) -> JudgedScore:
        """Returns it with another temperature."""
        return replace(self, score=replace(self.score, temperature=temperature))

    @property
    def judged(self) -> tuple[float, bool]:
        """The probability that is judged, and whether it came true."""
        probabilities = self.score.probabilities
        if is_yes_no(self.score.choices):
            yes = [choice.casefold() for choice in self.score.choices].index('yes')
            return probabilities[yes], self.right == yes
        best = int(np.argmax(probabilities))
        return probabilities[best], self.right == best

    @property
    def brier(self) -> float:
        """The squared error of all probabilities; for yes and no that of yes."""
        if is_yes_no(self.score.choices):
            probability, is_true = self.judged
            return (probability - is_true) ** 2
        return math.fsum(
            (probability - (index == self.right)) ** 2
            for index, probability in enumerate(self.score.probabilities)
        )


@dataclass(frozen=True)
class ReliabilityBin:
    """The `count` probabilities of one tenth: their `mean`, and the share that came `true`."""

    count: int
    mean: float
    true: float


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval, from scenes drawn anew."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationFigures:
    """How `count` probabilities of `scenes` scenes agree with the truth; `right`: share of the most
    probable answers that are right.
    """

    count: int
    scenes: int
    right: float
    error: Interval
    brier: Interval
    bins: tuple[ReliabilityBin, ...]


def figures_of(scores: Sequence[JudgedScore], temperature: float) -> CalibrationFigures:
    """Judges at a temperature."""
    judged = [each.at(temperature) for each in scores]
    probabilities = np.array([each.judged[0] for each in judged])
    came_true = np.array([each.judged[1] for each in judged], float)
    briers = np.array([each.brier for each in judged])
    seeds = np.array([each.seed for each in judged])
    hits = [int(np.argmax(each.score.probabilities)) == each.right for each in judged]
    return CalibrationFigures(
        len(judged),
        len(set(seeds.tolist())),
        float(np.mean(hits)),
        _resampled(seeds, lambda rows: calibration_error(probabilities[rows], came_true[rows])),
        _resampled(seeds, lambda rows: float(briers[rows].mean())),
        reliability(probabilities, came_true),
    )


def reliability(
    probabilities: NDArray[np.float64], came_true: NDArray[np.float64]
) -> tuple[ReliabilityBin, ...]:
    """Returns the tenths that any probability falls into."""
    tenths = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    found = []
    for tenth in range(BINS):
        inside = tenths == tenth
        if inside.any():
            found.append(
                ReliabilityBin(
                    int(inside.sum()),
                    float(probabilities[inside].mean()),
                    float(came_true[inside].mean()),
                )
            )
    return tuple(found)


def calibration_error(probabilities: NDArray[np.float64], came_true: NDArray[np.float64]) -> float:
    """Returns the expected calibration error: how far mean and share of each tenth are apart, by
    the number of probabilities in it.
    """
    bins = reliability(probabilities, came_true)
    total = sum(each.count for each in bins)
    return math.fsum(each.count * abs(each.mean - each.true) for each in bins) / max(1, total)


def fitted_temperature(scores: Sequence[JudgedScore]) -> float:
    """Returns the temperature that is most probable after the right answers, beforehand 1 within a
    factor of exp(SPREAD), by golden section over its logarithm; 1 for no scores.
    """
    if not scores:
        return 1.0
    leads = _leads(scores)
    low, high = math.log(LEAST_TEMPERATURE), math.log(MOST_TEMPERATURE)
    for _ in range(40):
        width = GOLDEN * (high - low)
        if _surprise(leads, high - width) < _surprise(leads, low + width):
            high = low + width
        else:
            low = high - width
    return math.exp((low + high) / 2)


def _leads(scores: Sequence[JudgedScore]) -> NDArray[np.float64]:
    """Returns by how much each logit exceeds that of the right answer, (scores, most choices); what
    a question has fewer choices than others is -inf.
    """
    leads = np.full((len(scores), max(len(each.score.choices) for each in scores)), -np.inf)
    for row, each in zip(leads, scores, strict=True):
        logits = np.array(each.score.logits)
        row[: len(logits)] = logits - logits[each.right]
    return leads


def _surprise(leads: NDArray[np.float64], log_temperature: float) -> float:
    """Returns the negative log likelihood of the right answers, and of the temperature."""
    given = np.logaddexp.reduce(leads / math.exp(log_temperature), axis=1).sum()
    return float(given) + (log_temperature / SPREAD) ** 2 / 2


def _resampled(seeds: NDArray[np.int64], of: Callable[[NDArray[np.int64]], float]) -> Interval:
    """Returns the value of all rows, and its interval; what is asked about one scene depends on
    each other, so whole scenes are drawn.
    """
    rows = {seed: np.flatnonzero(seeds == seed) for seed in np.unique(seeds)}
    every, random = list(rows.values()), np.random.default_rng(0)
    drawn = [
        of(np.concatenate([every[index] for index in random.integers(0, len(every), len(every))]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(of(np.arange(len(seeds))), float(low), float(high))
