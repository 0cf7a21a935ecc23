# SPDX-License-Identifier: Apache-2.0
"""How often guesses are right, by their source and its strength. Knows no tokens and no costs.

Every token that is generated tells whether each source had guessed it, drafted or not: the rates stay true while nothing is
drafted, and cost nothing.
"""
from __future__ import annotations

from collections.abc import Mapping

PREVIOUS, LOOKUP = 'previous', 'lookup'

PRIORS: Mapping[str, tuple[float, ...]] = {PREVIOUS: (0.2, 0.4, 0.6, 0.75, 0.85), LOOKUP: (0.1, 0.1, 0.25, 0.4, 0.5)}
"""By source, for each strength from 0 on: what is believed at first, as if seen in so many guesses as _PRIOR_WEIGHT."""

_PRIOR_WEIGHT = 4.0
_GUESS_DECAY = 0.97
"""Of earlier guesses' weight at each further one: some 30 count."""


class Acceptance:
    """Worker thread only."""

    def __init__(self) -> None:
        self._counts = {(name, strength): (rate * _PRIOR_WEIGHT, _PRIOR_WEIGHT)
                        for name, rates in PRIORS.items() for strength, rate in enumerate(rates)}

    def note(self, name: str, strength: int, is_right: bool) -> None:
        """A source of this strength guessed the next token, rightly or not."""
        right, guesses = self._counts[name, strength]
        self._counts[name, strength] = right * _GUESS_DECAY + is_right, guesses * _GUESS_DECAY + 1

    def rate(self, name: str, strength: int) -> float:
        """How probable it is that its next guess is right, 0 .. 1."""
        right, guesses = self._counts[name, strength]
        return right / guesses
