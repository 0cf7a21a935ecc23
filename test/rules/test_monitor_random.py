# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in whatever order, the state machine does what a plain and slow reading of the
whole history says.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.event import Evaluation, Event, EventKind, State
from penguin_ros.rules.monitor import MonitorLimits, RuleMonitor
from penguin_ros.rules.rule import Rule

MAX_OTHER, PATIENCE_S, STILL_S = 0.5, 20, 4
LIMITS = MonitorLimits(MAX_OTHER, STILL_S * NANOSECONDS, NANOSECONDS, PATIENCE_S * NANOSECONDS)
RESTART = 'restart'

Step = tuple[int, float, float] | str
"""(seconds since the step before, probability, other mass), or a restart of the node."""
Told = tuple[EventKind, int, int, int, float]
"""(kind, stamp, start, end, peak); stamps in seconds."""


@dataclass
class Oracle:
    """Keeps whole lists and reads them again from the beginning at every step."""

    rule: Rule
    counted: list[tuple[int, float]] = field(default_factory=list)  # since the last change
    seen: int | None = None
    decided: int | None = None
    cool: int | None = None
    active: list[float] | None = None  # start, held, peak
    told_at: int | None = None

    def step(self, stamp: int, probability: float, other: float) -> list[Told]:
        if stamp == self.seen:
            return []
        newest = self.decided if self.seen is None else self.seen
        out: list[Told] = []
        if newest is not None and stamp < newest:
            out += self.lose()
            self.cool = None
        elif self.decided is not None and stamp - self.decided > PATIENCE_S:
            out += self.lose()
        self.seen = stamp
        if other > MAX_OTHER:
            return out
        self.decided = stamp
        self.counted.append((stamp, probability))
        return out + (self.goes_on() if self.active else self.begins())

    def begins(self) -> list[Told]:
        """An event begins when N of M have held for the minimum duration without a break."""
        rule, stamp = self.rule, self.counted[-1][0]
        start = None
        for end in range(1, len(self.counted) + 1):
            window = self.counted[:end][-rule.confirm_window :]
            holding = [at for at, value in window if value >= rule.threshold_begin]
            if len(holding) < rule.confirm_count:
                start = None
            elif start is None:
                start = holding[0]
        holds_now = self.counted[-1][1] >= rule.threshold_begin
        if start is None or not holds_now or stamp - start < rule.min_duration_ns // NANOSECONDS:
            return []
        if self.cool is not None and stamp < self.cool:
            return []
        peak = max(value for _, value in self.counted[-rule.confirm_window :])
        self.active, self.counted, self.told_at = [start, stamp, peak], [], stamp
        return [(EventKind.BEGIN, stamp, start, stamp, peak)]

    def goes_on(self) -> list[Told]:
        """It ends when N of M are below the lower threshold, the last one among them."""
        assert self.active is not None
        rule, (stamp, probability) = self.rule, self.counted[-1]
        self.active[2] = max(self.active[2], probability)
        if probability >= rule.threshold_end:
            self.active[1] = stamp
            if self.told_at is None or stamp - self.told_at >= STILL_S:
                self.told_at = stamp
                return [(EventKind.STILL, stamp, *self.active)]  # type: ignore[list-item]
            return []
        window = self.counted[-rule.heal_window :]
        if sum(value < rule.threshold_end for _, value in window) < rule.heal_count:
            return []
        out = [(EventKind.END, stamp, *self.active)]
        cooldown = rule.cooldown_ns // NANOSECONDS
        self.active, self.counted = None, []
        self.cool = stamp + cooldown if cooldown else None
        return out  # type: ignore[return-value]

    def lose(self) -> list[Told]:
        out = [(EventKind.LOST, self.decided, *self.active)] if self.active else []
        self.active, self.counted, self.decided = None, [], None
        return out  # type: ignore[return-value]

    def restart(self) -> None:
        """Only an event under way and a cooldown outlive the process."""
        if not self.active and self.cool is None:
            self.decided = None
        self.seen, self.counted, self.told_at = None, [], None

    @property
    def state(self) -> State:
        rule = self.rule
        if self.active:
            window = self.counted[-rule.heal_window :]
            is_healing = any(value < rule.threshold_end for _, value in window)
            return State.HEALING if is_healing else State.ACTIVE
        window = self.counted[-rule.confirm_window :]
        is_pending = any(value >= rule.threshold_begin for _, value in window)
        return State.PENDING if is_pending else State.INACTIVE


def told(event: Event) -> Told:
    stamps = (event.stamp_ns, event.start_ns, event.end_ns)
    return (event.kind, *(stamp // NANOSECONDS for stamp in stamps), event.peak)  # type: ignore[return-value]


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    window, heal = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return Rule(
        'r',
        'x',
        threshold_begin=0.7,
        threshold_end=draw(st.sampled_from([0.4, 0.7])),
        confirm_count=draw(st.integers(1, window)),
        confirm_window=window,
        heal_count=draw(st.integers(1, heal)),
        heal_window=heal,
        period_ns=NANOSECONDS,
        min_duration_ns=draw(st.sampled_from([0, 0, 3])) * NANOSECONDS,
        cooldown_ns=draw(st.sampled_from([0, 2, 3, 6])) * NANOSECONDS,
    )


ADVANCES = st.sampled_from([1] * 12 + [2, 3, 0, -1, -40, PATIENCE_S, PATIENCE_S + 1])
PROBABILITIES = st.sampled_from([0.9] * 4 + [0.1] * 4 + [0.7, 0.69, 0.5, 0.4, 0.39])
STEPS = st.tuples(ADVANCES, PROBABILITIES, st.sampled_from([0.0] * 8 + [0.6]))
SCHEDULES = st.lists(st.one_of(*[STEPS] * 12, st.just(RESTART)), min_size=5, max_size=60)


@settings(max_examples=150, deadline=None)
@given(rules(), SCHEDULES)
def test_the_state_machine_agrees_with_a_plain_reading_of_the_whole_history(
    rule: Rule, schedule: list[Step]
) -> None:
    ids = itertools.count()
    monitor = RuleMonitor(rule, 'front', lambda: 0, LIMITS, lambda: f'event-{next(ids)}')
    oracle, now = Oracle(rule), 1000
    begun: set[str] = set()
    for step in schedule:
        if isinstance(step, str):
            saved = monitor.saved()
            monitor = RuleMonitor(rule, 'front', lambda: 0, LIMITS, lambda: f'event-{next(ids)}')
            if saved:
                monitor.resume(saved)
            oracle.restart()
            continue
        now += step[0]
        events = monitor.observe(Evaluation(now * NANOSECONDS, *step[1:]))
        assert [told(event) for event in events] == oracle.step(now, *step[1:])
        for event in events:
            assert (event.id in begun) == (event.kind is not EventKind.BEGIN)
            begun.add(event.id)
        state = monitor.state
        assert bool(state.event) == bool(oracle.active)
        if oracle.seen == now and step[2] <= MAX_OTHER and state.evaluated_ns == now * NANOSECONDS:
            assert state.state is oracle.state or step[0] == 0
