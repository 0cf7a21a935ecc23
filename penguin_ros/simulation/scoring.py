# SPDX-License-Identifier: Apache-2.0
"""How right captions and answers are: facts as sets, answers by value, shares with intervals."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from penguin_ros.simulation import words
from penguin_ros.simulation.language import facts, parse_caption
from penguin_ros.simulation.questions import QuestionAnswer, normalised
from penguin_ros.simulation.truth import Truth

Z_95 = 1.959964  # quantile of the normal distribution for 95 % intervals
RESAMPLES = 2000


@dataclass(frozen=True)
class CaptionScore:
    """How right a caption is: of its `claimed` facts `right` are true; `wanted` should have been
    named. A caption that does not parse claims nothing.
    """

    right: int
    claimed: int
    wanted: int
    is_parsed: bool


@dataclass(frozen=True)
class Share:
    """The share right / total with its 95 % interval; 0 of 0 is 0, with an interval from 0 to 1."""

    right: float
    total: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share in 0..1."""
        return self.right / self.total if self.total else 0.0


def score_caption(text: str, truth: Truth) -> CaptionScore:
    """Compares single claims: each (colour, shape, motion), the count, and each pair of neighbours
    in the order.
    """
    wanted, found = facts(truth).claims(), parse_caption(text)
    claimed = found.claims() if found is not None else frozenset()
    return CaptionScore(len(wanted & claimed), len(claimed), len(wanted), found is not None)


def score_answer(text: str, right: str) -> bool:
    """Returns whether an answer has the value of the right one."""
    return normalised(text) == normalised(right)


def is_abstention(text: str) -> bool:
    """Returns whether an answer says that it cannot be seen."""
    return score_answer(text, words.CANNOT_SEE)


def wilson(right: int, total: int) -> Share:
    """Returns the share of independent trials; E. B. Wilson, Probable inference, JASA 22 (1927)."""
    if not total:
        return Share(0, 0, 0.0, 1.0)
    share, z2 = right / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return Share(right, total, max(0.0, centre - half), min(1.0, centre + half))


def pooled(rights: Sequence[float], totals: Sequence[float], seed: int = 0) -> Share:
    """Returns sum(rights) / sum(totals) over scenes. Facts of one scene depend on each other, so
    the interval resamples whole scenes.
    """
    right, total = np.asarray(rights, float), np.asarray(totals, float)
    if not total.sum():
        return Share(0.0, 0.0, 0.0, 1.0)
    drawn = np.random.default_rng(seed).integers(0, len(right), (RESAMPLES, len(right)))
    shares = right[drawn].sum(1) / np.maximum(total[drawn].sum(1), 1e-9)
    low, high = np.quantile(shares, (0.025, 0.975))
    return Share(float(right.sum()), float(total.sum()), float(low), float(high))


def difference(
    first: Sequence[float], second: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Returns the mean of second - first over pairs and its 95 % interval, by resampling pairs."""
    gaps = np.asarray(second, float) - np.asarray(first, float)
    means = gaps[np.random.default_rng(seed).integers(0, len(gaps), (RESAMPLES, len(gaps)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(gaps.mean()), float(low), float(high)


def most_frequent(asked: Iterable[QuestionAnswer]) -> dict[str, str]:
    """Returns per kind the value that is right most often among these very questions, which is what
    knowing the kind alone reaches at best.
    """
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    for item in asked:
        tallies[item.kind][normalised(item.answer)] += 1
    return {kind: tally.most_common(1)[0][0] for kind, tally in tallies.items()}
