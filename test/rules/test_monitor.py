# SPDX-License-Identifier: Apache-2.0
"""A rule on one camera makes events by thresholds, counts, durations and cooldown, all on stamps of
frames, and says when nobody knows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import pytest

from penguin_ros.config import PenguinConfig
from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.event import Evaluation, Event, EventKind, State
from penguin_ros.rules.monitor import MonitorLimits, RuleMonitor
from penguin_ros.rules.rule import Rule, checked_rule

BEGIN, STILL, END, LOST = EventKind


def rule(**fields: object) -> Rule:
    base = {'threshold_begin': 0.7, 'threshold_end': 0.4, 'confirm_count': 2, 'confirm_window': 3}
    base |= {'heal_count': 2, 'heal_window': 3, 'period_ns': NANOSECONDS}
    return checked_rule(Rule('red', 'Is it red?', **base | fields), PenguinConfig())  # type: ignore[arg-type]


@dataclass
class Bench:
    """A monitor with clocks that stand still unless told otherwise; times are in seconds."""

    rule: Rule
    steady_s: float = 0.0
    limits: MonitorLimits = MonitorLimits()
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = itertools.count(1)
        self.monitor = RuleMonitor(
            self.rule,
            'front',
            lambda: round(self.steady_s * NANOSECONDS),
            self.limits,
            lambda: f'event-{next(ids)}',
        )

    def see(self, *probabilities: float, start: float = 0.0, step: float = 1.0) -> list[str]:
        """Evaluates one probability after the other; returns what happened, as 'KIND at'."""
        first = len(self.events)
        for index, probability in enumerate(probabilities):
            stamp_ns = round((start + index * step) * NANOSECONDS)
            self.events += self.monitor.observe(Evaluation(stamp_ns, probability))
        return [told(event) for event in self.events[first:]]

    @property
    def state(self) -> State:
        return self.monitor.state.state


def told(event: Event) -> str:
    return f'{event.kind.name} {event.stamp_ns / NANOSECONDS:g}'


def test_an_event_begins_when_enough_of_the_last_evaluations_say_so_and_ends_likewise() -> None:
    bench = Bench(rule())
    assert bench.state is State.UNKNOWN and 'not evaluated yet' in bench.monitor.state.reason
    assert bench.see(0.1) == [] and bench.state is State.INACTIVE
    assert bench.see(0.9, start=1) == [] and bench.state is State.PENDING
    assert bench.see(0.2, start=2) == [] and bench.state is State.PENDING
    assert bench.see(0.7, start=3) == ['BEGIN 3'] and bench.state is State.ACTIVE
    assert bench.see(0.39, start=4) == [] and bench.state is State.HEALING
    assert bench.see(0.4, start=5) == [] and bench.state is State.HEALING
    assert bench.see(0.0, start=6) == ['END 6'] and bench.state is State.INACTIVE
    begin, end = bench.events
    assert begin.id == end.id and begin.start_ns == end.start_ns == 1 * NANOSECONDS
    assert (begin.end_ns, end.end_ns) == (3 * NANOSECONDS, 5 * NANOSECONDS)
    assert [one.probability for one in begin.probabilities] == [0.9, 0.2, 0.7]
    assert [one.probability for one in end.probabilities] == [0.39, 0.4, 0.0]
    assert begin.peak == end.peak == 0.9 and not end.reason


def test_a_value_between_the_thresholds_neither_begins_nor_ends_an_event() -> None:
    bench = Bench(rule())
    assert bench.see(*[0.69, 0.4, 0.5] * 5) == []
    assert bench.see(0.8, 0.8, *[0.69, 0.4, 0.5] * 3, start=20) == ['BEGIN 21', 'STILL 30'][:1]


def test_an_event_that_goes_on_is_told_from_time_to_time() -> None:
    bench = Bench(rule(), limits=MonitorLimits(still_period_ns=3 * NANOSECONDS))
    assert bench.see(*[0.9] * 9) == ['BEGIN 1', 'STILL 4', 'STILL 7']
    assert len({event.id for event in bench.events}) == 1


def test_a_condition_has_to_hold_for_the_minimum_duration_without_a_break() -> None:
    bench = Bench(rule(min_duration_ns=3 * NANOSECONDS))
    assert bench.see(0.9, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.9) == ['BEGIN 8']
    assert bench.events[0].start_ns == 5 * NANOSECONDS


def test_after_an_event_the_next_one_waits_for_the_cooldown_and_for_evaluations_of_its_own() -> (
    None
):
    bench = Bench(rule(cooldown_ns=5 * NANOSECONDS))
    assert bench.see(0.9, 0.9, 0.1, 0.1) == ['BEGIN 1', 'END 3']
    # It holds again during the cooldown, and still does when that is over.
    assert bench.see(*[0.9] * 5, start=4) == ['BEGIN 8']
    assert bench.events[-1].start_ns == 4 * NANOSECONDS
    assert bench.see(0.1, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, start=9) == ['END 10']


def test_a_value_that_never_falls_makes_no_second_event_however_short_the_cooldown() -> None:
    bench = Bench(rule(), limits=MonitorLimits(still_period_ns=10**18))
    assert bench.see(*[0.9, 0.5, 0.7] * 200) == ['BEGIN 2']


def test_the_same_frame_twice_confirms_nothing() -> None:
    bench = Bench(rule())
    assert bench.see(0.9, 0.9, 0.9, 0.9, step=0.0) == []
    assert bench.state is State.PENDING and bench.monitor.state.evaluations == 1


def test_what_says_nothing_makes_the_state_unknown_and_counts_for_neither_side() -> None:
    bench = Bench(rule())
    bench.see(0.9)
    for second, nothing in enumerate([Evaluation(0, 0.9, 0.51), Evaluation(0, math.nan)], 1):
        seen = Evaluation(second * NANOSECONDS, nothing.probability, nothing.other_mass)
        assert bench.monitor.observe(seen) == []
        assert bench.state is State.UNKNOWN and 'the model gave' in bench.monitor.state.reason
    assert bench.see(0.9, start=3) == ['BEGIN 3']
    assert bench.monitor.report_unknown('the image is too dark', 4 * NANOSECONDS) == []
    state = bench.monitor.state
    assert (state.state, state.reason) == (State.UNKNOWN, 'the image is too dark')
    assert state.event == 'event-1' and state.since_ns == 4 * NANOSECONDS
    assert bench.see(0.9, start=5) == [] and bench.state is State.ACTIVE


def test_silence_on_the_steady_clock_is_unknown_and_a_long_one_loses_the_event() -> None:
    bench = Bench(rule())
    assert bench.see(0.9, 0.9) == ['BEGIN 1']
    bench.steady_s = 4.9
    assert bench.monitor.check(NANOSECONDS) == [] and bench.state is State.ACTIVE
    bench.steady_s = 5.1
    assert bench.monitor.check(NANOSECONDS) == [] and bench.state is State.UNKNOWN
    assert 'not evaluated for 5.1 s' in bench.monitor.state.reason
    bench.steady_s = 120.1
    (lost,) = bench.monitor.check(121 * NANOSECONDS)
    assert (lost.kind, lost.id) == (LOST, 'event-1') and 'for 120 s' in lost.reason
    assert bench.monitor.check(122 * NANOSECONDS) == [] and bench.monitor.state.event == ''
    assert bench.see(0.9, 0.9, start=130) == ['BEGIN 131']


def test_a_gap_between_stamps_loses_the_event_and_what_was_counted() -> None:
    bench = Bench(rule())
    assert bench.see(0.9, 0.9) == ['BEGIN 1']
    assert bench.see(0.9, 0.9, start=122) == ['LOST 1', 'BEGIN 123']
    assert 'for 121.0 s' in bench.events[1].reason
    assert bench.see(0.1, 0.1, 0.9, start=124) == ['END 125']
    assert bench.see(0.9, start=300) == [] and bench.state is State.PENDING


@pytest.mark.parametrize('is_told', [True, False])
def test_a_jump_of_the_clock_in_the_middle_of_counting_forgets_what_was_counted(
    is_told: bool,
) -> None:
    bench = Bench(rule(confirm_count=3, cooldown_ns=1000 * NANOSECONDS))
    assert bench.see(0.9, 0.9, start=100) == []
    if is_told:
        assert bench.monitor.restart('ROS time jumped back', 0) == []
    assert bench.see(0.9, start=3) == [] and bench.state is State.PENDING
    assert bench.see(0.9, 0.9, start=4) == ['BEGIN 5']
    lost = bench.monitor.restart('ROS time jumped', 0) if is_told else []
    lost += bench.monitor.observe(Evaluation(NANOSECONDS, 0.9))
    assert [event.kind for event in lost] == [LOST] and 'jumped' in lost[0].reason
    # A cooldown that was counted on the old clock would block for ever.
    bench = Bench(rule(cooldown_ns=1000 * NANOSECONDS))
    assert bench.see(0.9, 0.9, 0.1, 0.1, start=5000) == ['BEGIN 5001', 'END 5003']
    assert bench.see(0.9, 0.9, start=1) == ['BEGIN 2']


def test_a_rule_that_is_switched_off_or_not_valid_now_says_so_and_ends_its_event() -> None:
    off = Bench(rule(is_disabled=True))
    assert off.see(0.9, 0.9) == [] and off.state is State.DISABLED
    assert off.monitor.disable('', 0) == [] and off.state is State.DISABLED
    bench = Bench(rule())
    bench.see(0.9, 0.9)
    (end,) = bench.monitor.disable('it is outside its valid times', 2 * NANOSECONDS)
    assert (end.kind, end.reason) == (END, 'it is outside its valid times')
    assert bench.state is State.DISABLED and bench.see(0.9, 0.9, start=3) == []
    assert bench.monitor.disable('', 5 * NANOSECONDS) == [] and bench.state is State.UNKNOWN
    assert bench.see(0.9, 0.9, start=6) == ['BEGIN 7']


def test_a_restart_in_the_middle_of_an_event_sends_no_second_begin() -> None:
    before = Bench(rule())
    before.see(0.9, 0.9, 0.8)
    saved = before.monitor.saved()
    assert saved is not None and saved.event == 'event-1'
    cases = {
        'goes on': ([0.8, 0.8], 30.0, ['STILL 30']),
        'ended meanwhile': ([0.1, 0.1], 30.0, ['END 31']),
        'the frame of before, in doubt': ([0.1], 2.0, []),
        'too late': ([0.8, 0.8], 200.0, ['LOST 2', 'BEGIN 201']),
        'another clock': ([0.8, 0.8], 0.5, ['LOST 2', 'BEGIN 1.5']),
    }
    for name, (probabilities, start, expected) in cases.items():
        after = Bench(rule())
        after.monitor.resume(saved)
        assert after.state is State.UNKNOWN and 'restarted' in after.monitor.state.reason
        assert after.monitor.state.event == 'event-1'
        assert after.see(*probabilities, start=start) == expected, name
    silent = Bench(rule())
    silent.monitor.resume(saved)
    silent.steady_s = 121.0
    assert [event.kind for event in silent.monitor.check(0)] == [LOST]


def test_a_period_that_is_not_kept_is_said() -> None:
    bench = Bench(rule())
    bench.see(*[0.1] * 5)
    assert bench.monitor.state.keeps_period and not bench.monitor.state.reason
    assert bench.monitor.state.achieved_period_ns == NANOSECONDS
    bench.see(*[0.1] * 9, start=10, step=2.0)
    state = bench.monitor.state
    assert not state.keeps_period and 'less often than every 1 s' in state.reason
    assert (state.state, state.achieved_period_ns) == (State.INACTIVE, 2 * NANOSECONDS)
