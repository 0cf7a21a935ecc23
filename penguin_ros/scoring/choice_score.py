# SPDX-License-Identifier: Apache-2.0
"""The probabilities of the answers to one question, as a value with the formulas.

The mass m of an answer is the probability that the model's whole answer is one of its wordings: the
product of the probabilities of the wording's tokens, the end of the answer among them, summed over
the wordings. So a longer answer is not preferred to a shorter one that it begins with, nor the
other way round. For yes and no, m is the probability that the answer begins with the word, however
it goes on.

With what a neutral clip gives subtracted (b, zero where that is off) and a temperature T, the
probability of an answer among the others is softmax((ln m - b) / T). For yes and no that is
sigmoid((ln m_yes - ln m_no - (b_yes - b_no)) / T).

b is ln m on the neutral clip, less its mean over the choices, and no more than MOST_BIAS either
way: a model that is right about a grey clip, in which there is no red box, is as sure of that no as
of any other, and to subtract all of it would turn knowledge into doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

NEVER = float('-inf')
"""The logarithm of the probability of what cannot happen, or was not asked about."""

LEAST = -1e4
"""In place of the logarithm of a mass that is zero to rounding."""


MOST_BIAS = 0.5
"""So much of what a neutral clip gives is subtracted at most; between yes and no it is twice that,
which moves a probability of 0.5 to 0.27 or 0.73.
"""


@dataclass(frozen=True)
class ChoiceScore:
    """What was read for one question.

    `log_masses`: ln m of each of `choices`. `cannot_tell_log_mass`: that of the wordings that say
    that it cannot be told, NEVER where they were not asked about. `bias`: ln m of each choice on a
    neutral clip; empty where it is not subtracted. `temperature`: T.
    """

    choices: tuple[str, ...]
    log_masses: tuple[float, ...]
    cannot_tell_log_mass: float = NEVER
    bias: tuple[float, ...] = ()
    temperature: float = 1.0

    @property
    def logits(self) -> tuple[float, ...]:
        """ln m - b of each choice."""
        bias = _bounded(self.bias) or (0.0,) * len(self.choices)
        return tuple(max(m, LEAST) - b for m, b in zip(self.log_masses, bias, strict=True))

    @cached_property
    def probabilities(self) -> tuple[float, ...]:
        """The probability of each choice among the choices; they sum to 1."""
        return self._softmax(self.logits)

    @cached_property
    def raw_probabilities(self) -> tuple[float, ...]:
        """The same without subtracting what a neutral clip gives."""
        return self._softmax([max(mass, LEAST) for mass in self.log_masses])

    @property
    def choice(self) -> str:
        """The most probable choice, the first of equal ones."""
        return self.choices[self.probabilities.index(max(self.probabilities))]

    def probability_of(self, choice: str) -> float:
        """The probability of one of the choices; for a rule's yes or no, that of 'yes'."""
        return self.probabilities[self.choices.index(choice)]

    def raw_probability_of(self, choice: str) -> float:
        """The same without subtracting what a neutral clip gives."""
        return self.raw_probabilities[self.choices.index(choice)]

    @property
    def cannot_tell(self) -> float:
        """The probability that the answer says that it cannot be told, against all choices
        together.
        """
        mass, cannot = (
            math.fsum(map(math.exp, self.log_masses)),
            math.exp(self.cannot_tell_log_mass),
        )
        return cannot / (mass + cannot) if mass + cannot > 0 else 0.0

    @property
    def other_mass(self) -> float:
        """The probability of all answers that are neither a choice nor say that it cannot be
        told; large where the question does not fit the choices.
        """
        mass = math.fsum(map(math.exp, (*self.log_masses, self.cannot_tell_log_mass)))
        return min(1.0, max(0.0, 1.0 - mass))

    def _softmax(self, logits: Sequence[float]) -> tuple[float, ...]:
        scaled = [logit / self.temperature for logit in logits]
        largest = max(scaled)
        weights = [math.exp(each - largest) for each in scaled]
        total = math.fsum(weights)
        return tuple(weight / total for weight in weights)


def _bounded(bias: Sequence[float]) -> tuple[float, ...]:
    finite = [max(each, LEAST) for each in bias]
    mean = math.fsum(finite) / max(1, len(finite))
    return tuple(min(MOST_BIAS, max(-MOST_BIAS, each - mean)) for each in finite)


def log_sum(logs: Sequence[float]) -> float:
    """Returns the logarithm of the sum of probabilities given by their logarithms; NEVER for
    none.
    """
    largest = max(logs, default=NEVER)
    if largest == NEVER:
        return NEVER
    return largest + math.log(math.fsum(math.exp(each - largest) for each in logs))
