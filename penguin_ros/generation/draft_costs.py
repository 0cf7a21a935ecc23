# SPDX-License-Identifier: Apache-2.0
"""What a pass over several positions takes, as measured in this run. Knows numbers of rows and durations, no tokens.

Estimates fade while they are not renewed: a size that did not pay is tried again now and then, the rarer the dearer it was, so
that a change of the machine's load is noticed.
"""
from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

PRIOR_SLOPE = 0.25
"""So much of a pass over one position each further one is taken to cost, until measured."""

_FADING = 1024.0
"""Passes in which an estimate that is not renewed falls to 1/e: a size tried in vain costs a thousandth of the time or so."""

_LEAST_WEIGHT = 1 / 8
_MOST_GROWTH = 2.0  # a pass that was held up counts as twice the estimate at most


@dataclass
class _Estimate:
    """`value` in nanoseconds after `count` measurements, the last one in pass number `renewed`."""

    value: float
    count: int
    renewed: int


class StepCosts:
    """Nanoseconds per number of positions; worker thread only. Holds one estimate for each number that occurs."""

    def __init__(self) -> None:
        self._estimates: dict[int, _Estimate] = {}
        self._passes = 0
        self._sizes: list[int] = []  # ascending, and what a pass over so many positions is expected to take as of now
        self._values: list[float] = []

    def note(self, rows: int, duration_ns: int) -> None:
        """A pass over `rows` positions took so long."""
        self._passes += 1
        known, duration = self._estimates.get(rows), float(max(duration_ns, 1))
        if self._estimates:
            duration = min(duration, _MOST_GROWTH * self.cost(rows))
        if known is None:
            self._estimates[rows] = _Estimate(duration, 1, self._passes)
        else:
            # The first pass of a size may have paid for memory that the second reuses.
            is_better = known.count == 1 and duration < known.value
            weight = 1.0 if is_better else max(1 / (known.count + 1), _LEAST_WEIGHT)
            known.value += weight * (duration - known.value)
            known.count, known.renewed = known.count + 1, self._passes
        self._smooth()

    def cost(self, rows: int) -> float:
        """Expected nanoseconds of a pass over `rows` positions; before any measurement, in units of one position's."""
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
        """Fades what was not renewed, down to the least that any pass took; no size costs more than a larger one."""
        plain, least, values = min(estimate.value for estimate in self._estimates.values()), math.inf, []
        self._sizes = sorted(self._estimates)
        for size in reversed(self._sizes):
            estimate = self._estimates[size]
            faded = estimate.value * math.exp((estimate.renewed - self._passes) / _FADING)
            least = min(least, faded if size == 1 else max(faded, plain))
            values.append(least)
        self._values = values[::-1]


def _prior(rows: int) -> float:
    return 1 + PRIOR_SLOPE * (rows - 1)
