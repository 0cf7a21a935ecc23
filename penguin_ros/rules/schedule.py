# SPDX-License-Identifier: Apache-2.0
"""Which rules are due, so that those of one camera can be read in one pass, and whether they are
evaluated as often as they should be.

A rule is due at multiples of its period, counted from stamp 0 and not from when the rule was set:
rules of the same period, or of multiples of it, become due together. One that comes late is due
again at the next multiple, so that frames which come as often as the rule is due are all taken,
whatever their phase and jitter.
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
EARLY_NS = 20_000_000
"""So much earlier than due, and at most a twentieth of the period, a frame is taken."""


@dataclass(frozen=True)
class Batch:
    """Rules to be evaluated on one clip of a camera, which is `clip_ns` long."""

    camera: str
    clip_ns: int
    rules: tuple[Rule, ...]


class Schedule:
    """When each rule was evaluated last on each camera, and when it is due, as stamps."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], tuple[int, int]] = {}

    def due(self, rules: Sequence[Rule], camera: str, newest_ns: int) -> tuple[Batch, ...]:
        """Returns the rules that are due, by the length of their clips; they count as begun."""
        found: dict[int, list[Rule]] = {}
        for rule in rules:
            period_ns = rule.period_ns
            # A stamp before the last one is of another clock: there the rule was never evaluated.
            last_ns, due_ns = self._times.get((rule.id, camera), (newest_ns + 1, 0))
            is_new = newest_ns < last_ns
            soonest_ns = max(due_ns - min(EARLY_NS, period_ns // 20), last_ns + period_ns // 4)
            if not is_new and newest_ns < soonest_ns:
                continue
            is_in_turn = not is_new and newest_ns < due_ns + period_ns + period_ns // 4
            after_ns = due_ns if is_in_turn else newest_ns + period_ns // 4
            next_ns = (after_ns // period_ns + 1) * period_ns
            self._times[rule.id, camera] = (newest_ns, next_ns)
            found.setdefault(rule.clip_ns, []).append(rule)
        return tuple(Batch(camera, clip_ns, tuple(each)) for clip_ns, each in found.items())

    def forget(self, rule_id: str) -> None:
        """Makes a rule due at once on every camera."""
        self._times = {key: times for key, times in self._times.items() if key[0] != rule_id}

    def clear(self) -> None:
        """Makes all rules due at once."""
        self._times.clear()


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
