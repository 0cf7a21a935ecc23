# SPDX-License-Identifier: Apache-2.0
"""Remembers the last text given to each prompt, and how well it foretold the one after it. Knows no
cameras: keys are opaque.

What a pass over several positions takes, as measured in this run. Knows numbers of rows and
durations, no tokens.

Estimates fade while they are not renewed: a size that did not pay is tried again now and then, the
rarer the dearer it was, so that a change of the machine's load is noticed.

How often guesses are right, by their source and its strength. Knows no tokens and no costs.

Every token that is generated tells whether each source had guessed it, drafted or not: the rates
stay true while nothing is drafted, and cost nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from statistics import median_low

from penguin_ros.generation.stats import GenerationStats
from penguin_ros.request import StopReason

PREVIOUS, LOOKUP = 'previous', 'lookup'

PRIORS: Mapping[str, tuple[float, ...]] = {
    PREVIOUS: (0.2, 0.4, 0.6, 0.75, 0.85),
    LOOKUP: (0.1, 0.1, 0.25, 0.4, 0.5),
}
"""By source, for each strength from 0 on: what is believed at first, as if seen in so many guesses
as _PRIOR_WEIGHT.
"""

_PRIOR_WEIGHT = 4.0
_GUESS_DECAY = 0.97
"""Of earlier guesses' weight at each further one: some 30 count."""


class AcceptanceRate:
    """Worker thread only."""

    def __init__(self) -> None:
        self._counts = {
            (name, match_length): (rate * _PRIOR_WEIGHT, _PRIOR_WEIGHT)
            for name, rates in PRIORS.items()
            for match_length, rate in enumerate(rates)
        }

    def note(self, name: str, match_length: int, is_right: bool) -> None:
        """A source of this strength guessed the next token, rightly or not."""
        right, guesses = self._counts[name, match_length]
        self._counts[name, match_length] = (
            right * _GUESS_DECAY + is_right,
            guesses * _GUESS_DECAY + 1,
        )

    def rate(self, name: str, match_length: int) -> float:
        """How probable it is that its next guess is right, 0 .. 1."""
        right, guesses = self._counts[name, match_length]
        return right / guesses


PRIOR_SLOPE = 0.25
"""So much of a pass over one position each further one is taken to cost, until measured."""

_FADING = 1024.0
"""Passes in which an estimate that is not renewed falls to 1/e: a size tried in vain costs a
thousandth of the time or so.
"""

_KEPT = 3
"""Measurements of a size that count: of their median a single one that was held up changes nothing,
two in a row do.
"""

# so many times what is expected counts at most for the first pass of a size, which may pay for
# memory
_MOST_FIRST = 2.0
_JUMP = 1.5


@dataclass
class _Estimate:
    """The last few durations in nanoseconds; `renewed`: the number of the pass that gave the
    newest.
    """

    durations: deque[float]
    renewed: int

    @property
    def value(self) -> float:
        return median_low(self.durations)


class VerifyCosts:
    """Nanoseconds per number of positions; worker thread only. Holds one estimate for each number
    that occurs.
    """

    def __init__(self) -> None:
        self._estimates: dict[int, _Estimate] = {}
        self._passes = 0
        self._sizes: list[
            int
        ] = []  # ascending, and what a pass over so many positions is expected to take as of now
        self._values: list[float] = []

    def note(self, rows: int, duration_ns: int) -> None:
        """A pass over `rows` positions took so long."""
        self._passes += 1
        known, duration = self._estimates.get(rows), float(max(duration_ns, 1))
        if known is None:
            first = min(duration, _MOST_FIRST * self.cost(rows)) if self._estimates else duration
            self._estimates[rows] = _Estimate(deque([first], _KEPT), self._passes)
        else:
            before = known.value
            known.durations.append(duration)
            known.renewed = self._passes
            if not 1 / _JUMP <= known.value / before <= _JUMP:
                # The machine has changed: what was measured before of other sizes is no longer
                # true.
                self._estimates = {
                    size: each for size, each in self._estimates.items() if size in (1, rows)
                }
        self._smooth()

    def cost(self, rows: int) -> float:
        """Expected nanoseconds of a pass over `rows` positions; before any measurement, in units of
        one position's.
        """
        sizes, values = self._sizes, self._values
        if not sizes:
            return _prior(rows)
        index = bisect_left(sizes, rows)
        if 0 < index < len(sizes):
            share = (rows - sizes[index - 1]) / (sizes[index] - sizes[index - 1])
            return values[index - 1] + share * (values[index] - values[index - 1])
        nearest = min(index, len(sizes) - 1)
        return values[nearest] * _prior(rows) / _prior(sizes[nearest])

    def _smooth(self) -> None:
        """Fades what was not renewed; no size costs less than a smaller one, since those are tried
        again first.
        """
        self._sizes, self._values = sorted(self._estimates), []
        plain = min(estimate.value for estimate in self._estimates.values())
        for size in self._sizes:
            estimate = self._estimates[size]
            cheapest = min(self._estimates[other].value for other in self._sizes if other >= size)
            faded = cheapest * math.exp((estimate.renewed - self._passes) / _FADING)
            self._values.append(faded if size == 1 else max(faded, plain, *self._values[-1:]))


def _prior(rows: int) -> float:
    return 1 + PRIOR_SLOPE * (rows - 1)


MAX_TEXTS, MAX_TOKENS = 64, 512
"""Texts remembered, the longest unused goes first; tokens kept of each, from its beginning."""


@dataclass(eq=False)
class PromptHistory:
    """What is known before a text is generated: tokens of the `previous` one, how often guesses
    were right, what passes cost.
    """

    previous: tuple[int, ...] = ()
    acceptance: AcceptanceRate = field(default_factory=AcceptanceRate)
    costs: VerifyCosts = field(default_factory=VerifyCosts)


class DraftHistory:
    """Of one loaded model; worker thread only. All records share the costs, which are the
    machine's.
    """

    def __init__(self) -> None:
        self._costs = VerifyCosts()
        self._records: OrderedDict[Hashable, PromptHistory] = OrderedDict()

    def record(self, key: Hashable) -> PromptHistory:
        """That of a prompt, a new one when it is not remembered."""
        record = self._records.setdefault(key, PromptHistory(costs=self._costs))
        self._records.move_to_end(key)
        while len(self._records) > MAX_TEXTS:
            self._records.popitem(last=False)
        return record

    def keep(self, record: PromptHistory, progress: GenerationStats) -> None:
        """The text that was generated with `record`; one that was cut short replaces a shorter one
        only.
        """
        if progress.stop_reason is not StopReason.NONE or len(progress.token_ids) > len(
            record.previous
        ):
            record.previous = tuple(progress.token_ids[:MAX_TOKENS])
