# SPDX-License-Identifier: Apache-2.0
"""What earlier generations tell about the next draft: the last text of each prompt, how often
guesses were right, and what passes over several positions cost. Worker thread only.

`AcceptanceRate`: every token that is generated shows whether each source had guessed it, drafted or
not. So the rates stay true while nothing is drafted, and cost nothing.

`VerifyCosts` are measured in this run. An estimate that is not renewed fades: a number of positions
that did not pay is tried again now and then, the more rarely the dearer it was, so that a change of
the machine's load is noticed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low

PREVIOUS, LOOKUP = 'previous', 'lookup'
"""The sources of guesses: the previous text of the same prompt, and the prompt itself."""

MAX_PROMPTS = 64
"""Prompts whose last text is remembered; the least recently used is evicted first."""

MAX_TOKENS = 512
"""Tokens kept of a text, from its beginning."""

PRIOR_RATES: Mapping[str, tuple[float, ...]] = {
    PREVIOUS: (0.2, 0.4, 0.6, 0.75, 0.85),
    LOOKUP: (0.1, 0.1, 0.25, 0.4, 0.5),
}
"""By source, for each match length from 0 on: the acceptance rate that is assumed at first, as if
seen in _PRIOR_GUESSES guesses.
"""

_PRIOR_GUESSES = 4.0

_GUESS_DECAY = 0.97
"""The weight of earlier guesses is multiplied by this at each further one: some 30 count."""

PRIOR_SLOPE = 0.25
"""Each position after the first is assumed to cost this share of a pass over one position, until
passes are measured.
"""

_FADING_PASSES = 1024.0
"""Passes in which an estimate that is not renewed falls to 1/e: trying a number of positions in
vain costs about a thousandth of the time.
"""

_KEPT_DURATIONS = 3
"""Measurements of one number of positions that count: a single one that was held up does not change
their median, two in a row do.
"""

_MOST_FIRST = 2.0
"""The first pass over a number of positions counts at most this many times what was expected: it
may pay for allocating memory.
"""

_JUMP = 1.5
"""When an estimate changes by this factor, the machine has changed."""


class AcceptanceRate:
    """How often the guesses of each source are right, by the length of the match they follow."""

    def __init__(self) -> None:
        self._counts = {
            (source, match_length): (rate * _PRIOR_GUESSES, _PRIOR_GUESSES)
            for source, rates in PRIOR_RATES.items()
            for match_length, rate in enumerate(rates)
        }

    def note(self, source: str, match_length: int, is_right: bool) -> None:
        """Notes that `source`, with a match of `match_length` tokens, guessed the next token,
        rightly or not.
        """
        right, guesses = self._counts[source, match_length]
        self._counts[source, match_length] = (
            right * _GUESS_DECAY + is_right,
            guesses * _GUESS_DECAY + 1,
        )

    def rate(self, source: str, match_length: int) -> float:
        """Returns how probable it is that the next guess is right, 0 .. 1."""
        right, guesses = self._counts[source, match_length]
        return right / guesses


@dataclass
class _Estimate:
    """`durations`: the last few, in nanoseconds; `renewed`: the number of the pass that gave the
    newest.
    """

    durations: deque[float]
    renewed: int

    @property
    def value(self) -> float:
        return median_low(self.durations)


class VerifyCosts:
    """Nanoseconds of a forward pass by its number of positions. It holds one estimate for each
    number that occurs.
    """

    def __init__(self) -> None:
        self._estimates: dict[int, _Estimate] = {}
        self._passes = 0
        # Ascending numbers of positions, and the time that a pass is expected to take as of now.
        self._sizes: list[int] = []
        self._values: list[float] = []

    def note(self, num_tokens: int, duration_ns: int) -> None:
        """Notes that a pass over `num_tokens` positions took `duration_ns`."""
        self._passes += 1
        duration = float(max(duration_ns, 1))
        known = self._estimates.get(num_tokens)
        if known is None:
            if self._estimates:
                duration = min(duration, _MOST_FIRST * self.cost(num_tokens))
            self._estimates[num_tokens] = _Estimate(
                deque([duration], _KEPT_DURATIONS), self._passes
            )
        else:
            before = known.value
            known.durations.append(duration)
            known.renewed = self._passes
            if not 1 / _JUMP <= known.value / before <= _JUMP:
                self._forget_all_but(1, num_tokens)
        self._smooth()

    def cost(self, num_tokens: int) -> float:
        """Returns the expected nanoseconds of a pass over `num_tokens` positions; before any
        measurement, in units of a pass over one position.
        """
        sizes, values = self._sizes, self._values
        if not sizes:
            return _prior_cost(num_tokens)
        index = bisect_left(sizes, num_tokens)
        if 0 < index < len(sizes):
            share = (num_tokens - sizes[index - 1]) / (sizes[index] - sizes[index - 1])
            return values[index - 1] + share * (values[index] - values[index - 1])
        nearest = min(index, len(sizes) - 1)
        return values[nearest] * _prior_cost(num_tokens) / _prior_cost(sizes[nearest])

    def _forget_all_but(self, *sizes: int) -> None:
        """The machine has changed: what was measured before of other sizes is no longer true."""
        self._estimates = {
            size: estimate for size, estimate in self._estimates.items() if size in sizes
        }

    def _smooth(self) -> None:
        """Fades what was not renewed. No size costs less than a smaller one, since the smaller ones
        are tried again first.
        """
        self._sizes = sorted(self._estimates)
        self._values = []
        plain = min(estimate.value for estimate in self._estimates.values())
        for size in self._sizes:
            estimate = self._estimates[size]
            cheapest = min(self._estimates[other].value for other in self._sizes if other >= size)
            faded = cheapest * math.exp((estimate.renewed - self._passes) / _FADING_PASSES)
            self._values.append(faded if size == 1 else max(faded, plain, *self._values[-1:]))


def _prior_cost(num_tokens: int) -> float:
    return 1 + PRIOR_SLOPE * (num_tokens - 1)


@dataclass(eq=False)
class PromptHistory:
    """What is known of a prompt before a text is generated: tokens of its `previous` text, how
    often guesses were right, and what passes cost.
    """

    previous: tuple[int, ...] = ()
    acceptance: AcceptanceRate = field(default_factory=AcceptanceRate)
    costs: VerifyCosts = field(default_factory=VerifyCosts)

    def keep(self, token_ids: Sequence[int], is_complete: bool) -> None:
        """Remembers a text; one that was cut short replaces a shorter one only."""
        if is_complete or len(token_ids) > len(self.previous):
            self.previous = tuple(token_ids[:MAX_TOKENS])


class DraftHistory:
    """The histories of the prompts of one loaded model, by opaque keys. All share the costs, which
    are the machine's.
    """

    def __init__(self) -> None:
        self._costs = VerifyCosts()
        self._histories: OrderedDict[Hashable, PromptHistory] = OrderedDict()

    def for_prompt(self, key: Hashable) -> PromptHistory:
        """Returns the history of a prompt, a new one when it is not remembered."""
        history = self._histories.setdefault(key, PromptHistory(costs=self._costs))
        self._histories.move_to_end(key)
        while len(self._histories) > MAX_PROMPTS:
            self._histories.popitem(last=False)
        return history
