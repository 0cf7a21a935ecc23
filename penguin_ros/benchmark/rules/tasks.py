# SPDX-License-Identifier: Apache-2.0
"""What `penguin bench rules` measures and what comes of it, as values."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WANTED = {10: 2.0, 50: 6.0}
"""So many rules shall take at most so many times as long as one, over a whole evaluation."""

FLOAT_ROUNDING = 1e-4


@dataclass(frozen=True)
class RulesTask:
    """`counts` of rules, each with `suffix` tokens of its own behind a clip of at least
    `clip_tokens`, `rounds` times.
    """

    counts: tuple[int, ...] = (1, 5, 10, 50)
    suffix: int = 20
    clip_tokens: int = 800
    rounds: int = 3


@dataclass(frozen=True)
class RulesRound:
    """One round, in seconds: the `encode` of the clip, the `prefill` of what all rules share, and
    by count of rules the reading of all `together`, and of one after another `in_turn`, behind the
    same prefix.
    """

    encode: float
    prefill: float
    together: dict[int, float]
    in_turn: dict[int, float]


@dataclass(frozen=True)
class RulesResult:
    """What was measured on one model: `prefix` positions that all rules share, and how far the
    logits of branches are from those of each asked alone, `difference`: the norm of the
    difference, as a share of the norm of the logits, at worst. `rounding`: the same for rules whose
    tokens are decoded one by one, which is what passes of other sizes round otherwise.
    """

    model: str
    way: str
    task: RulesTask
    prefix: int
    rounds: tuple[RulesRound, ...]
    difference: float
    rounding: float

    @property
    def is_exact(self) -> bool:
        """Whether branches differ by no more than rounding: that of float32, or a few times what a
        decode of fewer rules differs by where activations are rounded to 8 bits.
        """
        return self.difference <= max(FLOAT_ROUNDING, 3 * self.rounding)

    def evaluation(self, count: int) -> float:
        """Seconds of a whole evaluation of a new clip."""
        return self._median(lambda each: each.encode + each.prefill + each.together[count])

    def held(self, count: int) -> float:
        """Seconds where the clip has been read already, as captions of it leave it."""
        return self._median(lambda each: each.together[count])

    def in_turn(self, count: int) -> float:
        """Seconds of asking one after another there, each reusing the prefix."""
        return self._median(lambda each: each.in_turn[count])

    def prefill_rate(self) -> float:
        """Positions of the prefix per second."""
        return self._median(lambda each: self.prefix / each.prefill)

    def branch_rate(self, count: int) -> float:
        """Tokens of rules per second, read together."""
        return self._median(lambda each: count * self.task.suffix / each.together[count])

    def missed(self) -> list[str]:
        """Says which aims are not reached; those of the cost are set for suffixes of 20 tokens
        behind 800 or more.
        """
        found = []
        for count, most in WANTED.items():
            if count in self.task.counts and self.task.suffix <= 20 and self.prefix >= 800:
                ratio = self.evaluation(count) / self.evaluation(1)
                if ratio > most:
                    found.append(f'{count} rules take {ratio:.2f} times one, wanted {most:g}')
        for count in self.task.counts:
            ratio = self.held(count) / self.in_turn(count)
            if count > 1 and ratio > 1:
                found.append(f'{count} rules take {ratio:.2f} times one after another')
        return found

    def _median(self, of: Callable[[RulesRound], float]) -> float:
        values: Sequence[float] = [of(each) for each in self.rounds]
        return statistics.median(values)
