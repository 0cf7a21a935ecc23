# SPDX-License-Identifier: Apache-2.0
"""Rules of a demo beside the truth: the node is told to say when each thing of the simulated world
comes into view, all of them for the price of about one, and each time that it does so the truth is
looked up.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penguin_ros.console import print_line
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_store import RuleStore
from penguin_ros.simulation.ground_truth import GroundTruth
from penguin_ros.simulation.scene import COLOURS, SHAPES
from penguin_ros.simulation.words import EXISTS
from penguin_ros.simulation.world import World

STEP_NS = NANOSECONDS // 10
"""How exactly the truth is found: the moment at which a thing came into view."""


def write_rules(path: Path) -> int:
    """Writes a file of rules, one for each colour and shape; returns their number."""
    store = RuleStore(path)
    names = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    for colour, shape in names:
        condition = EXISTS[0].format(thing=f'{colour} {shape}')
        store.keep_rule(Rule(f'{colour}_{shape}', condition))
    return len(names)


@dataclass(frozen=True)
class Firing:
    """A rule that fired at a stamp; `in_view_ns` is since when the thing truly was in view, None
    where it was not.
    """

    name: str
    stamp_ns: int
    in_view_ns: int | None
    probabilities: tuple[float, ...]

    @property
    def delay_s(self) -> float | None:
        """How long after the truth the rule fired; None where it was wrong."""
        if self.in_view_ns is None:
            return None
        return (self.stamp_ns - self.in_view_ns) / NANOSECONDS

    def line(self) -> str:
        """Returns it in words."""
        probabilities = ', '.join(f'{each:.2f}' for each in self.probabilities)
        told = f'rule fires at {self.stamp_ns / NANOSECONDS:.1f} s: {self.name} ({probabilities})'
        if self.in_view_ns is None:
            return f'{told}; truth: WRONG, there is none'
        since = f'{self.in_view_ns / NANOSECONDS:.1f} s'
        return f'{told}; truth: in view since {since}, told {self.delay_s:.1f} s later'


class RuleWatch:
    """Listens to the events of the node `name`; `truths` are those of the showings by number. It
    belongs to the thread that spins the session.
    """

    def __init__(
        self, node: Any, name: str, world: World, truths: Mapping[int, GroundTruth]
    ) -> None:
        from penguin_msgs.msg import Event
        from rclpy.qos import QoSProfile

        self.firings: list[Firing] = []
        self._world = world
        self._truths = truths
        self._new: list[Any] = []
        node.create_subscription(Event, f'{name}/event', self._new.append, QoSProfile(depth=64))

    def show_new(self) -> None:
        """Prints each rule that has fired, beside the truth."""
        while self._new:
            event = self._new.pop(0)
            if event.kind != event.BEGIN:
                continue
            firing = self._judged(event)
            if firing is not None:
                self.firings.append(firing)
                print_line(firing.line())

    def summary(self) -> str:
        """Says how many rules fired rightly, and how long after the truth."""
        delays = [each.delay_s for each in self.firings if each.delay_s is not None]
        told = f'rules fired {len(self.firings)} times, {len(delays)} rightly'
        if not delays:
            return told
        middle = statistics.median(delays)
        return f'{told}: {middle:.1f} s after the thing came into view (median)'

    def _judged(self, event: Any) -> Firing | None:
        """Compares an event with the truth of its showing; None where that has not been heard."""
        stamp_ns = to_nanoseconds(event.header.stamp)
        truth = next(
            (each for each in self._truths.values() if each.holds(stamp_ns, stamp_ns)), None
        )
        if truth is None:
            return None
        name = event.rule.replace('_', ' ')
        return Firing(
            name,
            stamp_ns,
            self._in_view_ns(truth, tuple(name.split()), stamp_ns),
            tuple(event.probabilities),
        )

    def _in_view_ns(self, truth: GroundTruth, name: tuple[str, ...], until_ns: int) -> int | None:
        """Returns when a thing came into view for the first time until a stamp; None: never."""
        at_ns: int
        for at_ns in (*range(truth.start_ns, until_ns, STEP_NS), until_ns):
            seen = truth.truth_between(self._world, at_ns, at_ns)
            if any(sight.name == name for sight in seen.present):
                return at_ns
        return None
