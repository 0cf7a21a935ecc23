# SPDX-License-Identifier: Apache-2.0
"""Which rules are due, so that those of one camera can be read in one pass, and whether they are
evaluated as often as they should be.

A rule is due when the newest frame lies in another period than the last one that it was evaluated
on. Periods are counted from stamp 0, not from when a rule was set: rules of the same period, or of
multiples of it, become due together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.rule import Rule

INTERVALS = 8
TOLERANCE = 1.5
"""An average of more than so many periods does not keep the period."""


@dataclass(frozen=True)
class Batch:
    """Rules to be evaluated on one clip of a camera, which is `clip_ns` long."""

    camera: str
    clip_ns: int
    rules: tuple[Rule, ...]


class Schedule:
    """The stamp at which each rule was evaluated last on each camera."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}

    def due(self, rules: Sequence[Rule], camera: str, newest_ns: int) -> tuple[Batch, ...]:
        """Returns the rules that are due, by the length of their clips; they count as begun."""
        found: dict[int, list[Rule]] = {}
        for rule in rules:
            last_ns = self._last.get((rule.id, camera))
            if last_ns is None or last_ns // rule.period_ns != newest_ns // rule.period_ns:
                self._last[rule.id, camera] = newest_ns
                found.setdefault(rule.clip_ns, []).append(rule)
        return tuple(Batch(camera, clip_ns, tuple(each)) for clip_ns, each in found.items())

    def forget(self, rule_id: str) -> None:
        """Makes a rule due at once on every camera."""
        self._last = {key: stamp for key, stamp in self._last.items() if key[0] != rule_id}

    def clear(self) -> None:
        """Makes all rules due at once."""
        self._last.clear()


class AchievedPeriod:
    """The intervals between the last evaluations, in nanoseconds of stamps."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._stamps: deque[int] = deque(maxlen=INTERVALS + 1)

    @property
    def average_ns(self) -> int:
        """The average interval; 0 before there are two evaluations."""
        if len(self._stamps) < 2:
            return 0
        return (self._stamps[-1] - self._stamps[0]) // (len(self._stamps) - 1)

    def note(self, stamp_ns: int) -> None:
        """Takes the stamp of an evaluation."""
        self._stamps.append(stamp_ns)

    def complaint(self, silence_ns: int = 0) -> str:
        """Returns in words that the period is not kept, '' when it is; `silence_ns` is how long the
        last evaluation is ago.
        """
        worst_ns = max(self.average_ns, silence_ns - self._period_ns // 2)
        if worst_ns <= TOLERANCE * self._period_ns:
            return ''
        # Without the achieved period, which is a field of its own: the text shall not change with
        # every evaluation.
        return f'it is evaluated less often than every {self._period_ns / NANOSECONDS:g} s'
