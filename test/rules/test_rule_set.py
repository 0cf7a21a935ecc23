# SPDX-License-Identifier: Apache-2.0
"""A set of rules says which are due together, takes no more than it can bear, and never says
nothing happens where nobody knows.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import InvalidRule, TooManyRules, UnknownCamera, UnknownRule
from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.darkness import is_too_dark
from penguin_ros.rules.event import Evaluation, EventKind, State
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.rule_set import RuleSet
from penguin_ros.settings import with_values

S = NANOSECONDS


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> int:
        return round(self.seconds * S)


@dataclass
class Watched:
    """A set of rules for two cameras, on clocks that stand still."""

    config: PenguinConfig = PenguinConfig()
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.rules = RuleSet(self.config, ['front', 'rear'], self.clock, time.gmtime)

    def set(self, rule_id: str, **fields: Any) -> Rule:
        condition = fields.pop('condition', 'Is it red?')
        return self.rules.set_rule(Rule(rule_id, condition, **fields), 'service', 0)[0]

    def see(self, rule: Rule, camera: str, second: float, probability: float) -> list[str]:
        found = self.rules.observe(rule, camera, Evaluation(round(second * S), probability))
        return [f'{event.rule} {event.camera} {event.kind.name}' for event in found]

    def states(self) -> dict[tuple[str, str], State]:
        return {(one.rule, one.camera): one.state for one in self.rules.states()}


def test_a_rule_gets_the_settings_in_the_place_of_its_zeros() -> None:
    config = with_values(PenguinConfig(), {'rule.period': 2.5, 'rule.confirm_window': 5})
    rule = Watched(config).set('a', threshold_begin=0.30000001192092896, heal_count=4)
    assert (rule.period_ns, rule.clip_ns) == (5 * S // 2, 4 * S)
    assert (rule.threshold_begin, rule.threshold_end) == (0.3, 0.3), 'the lower one follows'
    assert (rule.confirm_count, rule.confirm_window) == (2, 5)
    assert (rule.heal_count, rule.heal_window) == (4, 4), 'the window follows'


WRONG: list[dict[str, Any]] = [
    {'id': ''},
    {'id': 'a b'},
    {'id': 'a/b'},
    {'id': 'ä'},
    {'id': 'x' * 65},
    {'condition': ''},
    {'condition': ' \n\x00'},
    {'condition': 'x' * 1_000_000},
    {'cameras': ('front', 'front')},
    {'cameras': ('',)},
    {'cameras': tuple(map(str, range(65)))},
    {'choices': ('a',), 'firing_choice': 'a'},
    {'choices': ('a', 'b')},
    {'choices': ('a', 'b'), 'firing_choice': 'c'},
    {'choices': ('a', ' A'), 'firing_choice': 'a'},
    {'choices': ('a', ''), 'firing_choice': 'a'},
    {'choices': ('a', 'x' * 257), 'firing_choice': 'a'},
    {'choices': tuple(map(str, range(10_000))), 'firing_choice': '1'},
    {'firing_choice': 'a'},
    {'threshold_begin': 1.1},
    {'threshold_begin': -0.1},
    {'threshold_begin': math.nan},
    {'threshold_end': math.inf},
    {'threshold_begin': 0.5, 'threshold_end': 0.6},
    {'confirm_count': 3, 'confirm_window': 2},
    {'heal_count': 3, 'heal_window': 2},
    {'confirm_count': -1},
    {'confirm_window': 101},
    {'heal_window': 2**32 - 1},
    {'period_ns': -S},
    {'period_ns': 1},
    {'period_ns': 2**62},
    {'clip_ns': 31 * S},
    {'clip_ns': -1},
    {'min_duration_ns': -1},
    {'cooldown_ns': 2**62},
    {'valid_times': ('noon',)},
    {'valid_times': ('mon',) * 33},
    {'severity': 3},
    {'severity': -1},
]


@pytest.mark.parametrize('fields', WRONG, ids=lambda fields: str(fields)[:50])
def test_every_field_of_a_rule_that_is_wrong_is_named_and_nothing_is_set(
    fields: dict[str, Any],
) -> None:
    watched = Watched()
    others = {key: value for key, value in fields.items() if key != 'id'}
    with pytest.raises(InvalidRule) as caught:
        watched.set(fields.get('id', 'a'), **others)
    name = next(iter(fields)).removesuffix('_ns')
    shown = str(caught.value)
    assert name in shown or name == 'id' or name.split('_')[0] in shown
    assert len(shown) < 400 and watched.rules.rules() == ()


def test_chat_markup_in_a_condition_stays_plain_text() -> None:
    text = '<|im_end|><image>Is it red? <think>'
    assert Watched().set('a', condition=text).condition == text


def test_more_rules_than_the_limit_are_refused_with_the_number() -> None:
    watched = Watched(with_values(PenguinConfig(), {'rule.max_rules': 3}))
    for name in 'abc':
        watched.set(name)
    with pytest.raises(TooManyRules, match='there are 3 rules: 3 are taken'):
        watched.set('d')
    watched.set('c', condition='replacing is no adding')
    watched.rules.remove_rule('a', 0)
    watched.set('d')
    with pytest.raises(UnknownRule, match='b, c, d'):
        watched.rules.remove_rule('a', 0)


def test_rules_of_one_camera_become_due_together_and_each_period_once() -> None:
    watched = Watched()
    for name, period in (('fast', S // 2), ('one', S), ('two', 2 * S), ('late', S)):
        watched.set(name, period_ns=period, cameras=('front',) if name != 'two' else ())
    watched.set('long', clip_ns=8 * S, cameras=('front',))
    due: list[tuple[int, list[str]]] = []
    for tenth in range(41):
        now_ns = round((7.03 + tenth / 10) * S)
        batches = watched.rules.due('front', now_ns)
        assert sorted({batch.clip_ns for batch in batches}) == [b.clip_ns for b in batches][:2]
        names = sorted(rule.id for batch in batches for rule in batch.rules)
        due += [(tenth, names)] if names else []
    everything = ['fast', 'late', 'long', 'one', 'two']
    assert due[0] == (0, everything), 'what was never evaluated is due at once'
    assert due[1:] == [
        *((5, ['fast']), (10, everything), (15, ['fast']), (20, ['fast', 'late', 'long', 'one'])),
        *((25, ['fast']), (30, everything), (35, ['fast']), (40, ['fast', 'late', 'long', 'one'])),
    ]
    assert [rule.id for batch in watched.rules.due('rear', 7 * S) for rule in batch.rules] == [
        'two'
    ]


def test_frames_that_come_as_often_as_a_rule_is_due_are_all_taken_whatever_their_phase() -> None:
    source = random.Random(1)
    for phase in (0.0, 0.3, 0.5, 0.97, 0.985, 0.999):
        watched = Watched()
        watched.set('a', cameras=('front',))
        stamps = [100 + second + phase + source.uniform(-0.02, 0.02) for second in range(200)]
        taken = [bool(watched.rules.due('front', round(stamp * S))) for stamp in stamps]
        assert taken.count(False) <= 2, phase
    watched = Watched()
    watched.set('a', cameras=('front',), period_ns=S)
    fast = [round((50 + step / 30) * S) for step in range(30 * 60)]
    assert sum(bool(watched.rules.due('front', stamp)) for stamp in fast) == 60


def test_a_rule_that_was_late_is_due_again_at_the_next_multiple_of_its_period() -> None:
    watched = Watched()
    watched.set('a', cameras=('front',))
    stamps = (5.0, 5.9, 6.7, 6.9, 7.0, 12.6, 12.9, 13.0, 17.9, 18.0, 18.9, 19.0, 2.0)
    due = [stamp for stamp in stamps if watched.rules.due('front', round(stamp * S))]
    assert due == [5.0, 6.7, 7.0, 12.6, 13.0, 17.9, 19.0, 2.0]


def test_a_rule_is_not_due_when_switched_off_or_outside_its_valid_times() -> None:
    watched = Watched()
    watched.set('off', is_disabled=True)
    rule = watched.set('office', valid_times=('08:00-09:00',), cameras=('front',))
    assert watched.rules.due('front', 7 * 3600 * S) == ()
    assert watched.states()['office', 'front'] is State.DISABLED
    nine = 9 * 3600
    (batch,) = watched.rules.due('front', (nine - 2) * S)
    assert batch.rules == (rule,)
    assert watched.see(rule, 'front', nine - 2, 0.9) == []
    assert watched.see(rule, 'front', nine - 1, 0.9) == ['office front BEGIN']
    (end,) = watched.rules.check(nine * S)
    assert end.kind is EventKind.END and 'valid times' in end.reason


def test_rules_of_a_camera_that_is_gone_say_so() -> None:
    watched = Watched()
    with pytest.raises(UnknownCamera, match="'front', 'rear'"):
        watched.set('a', cameras=('gone',))
    watched.rules.set_rule(Rule('a', 'x?', cameras=('gone',)), 'file', 0, needs_cameras=False)
    (state,) = watched.rules.states()
    assert state.state is State.UNKNOWN and 'no camera of that name' in state.reason
    watched.rules.check(5 * S)
    assert watched.rules.states() == (state,)


def test_what_keeps_rules_from_being_evaluated_is_their_state_until_the_next_evaluation() -> None:
    watched = Watched()
    one, two = watched.set('one'), watched.set('two')
    for rule in (one, two):
        watched.see(rule, 'front', 1, 0.1)
    assert watched.rules.report_unknown('front', 'the engine is busy', 2 * S, [two]) == []
    assert watched.states()['one', 'front'] is State.INACTIVE
    assert watched.states()['two', 'front'] is State.UNKNOWN
    watched.rules.report_unknown('front', 'no frame for 7 s', 3 * S)
    assert watched.states()['one', 'front'] is State.UNKNOWN
    assert 'not evaluated yet' in watched.rules.states()[1].reason, 'the other camera'
    watched.see(one, 'front', 4, 0.1)
    assert watched.states()['one', 'front'] is State.INACTIVE


def test_an_event_ends_as_lost_when_its_rule_is_removed_or_replaced() -> None:
    watched = Watched()
    rule = watched.set('a')
    for second in (1, 2):
        watched.see(rule, 'rear', second, 0.9)
    again = watched.rules.set_rule(Rule('a', 'Is it red?'), 'service', 0)
    assert again == (rule, True, []), 'the same rule again changes nothing'
    changed, is_replaced, events = watched.rules.set_rule(
        Rule('a', 'Is it red?', severity=2), 'service', 5 * S
    )
    assert is_replaced and [event.kind for event in events] == [EventKind.LOST]
    assert 'replaced' in events[0].reason
    assert watched.see(rule, 'rear', 3, 0.9) == [], 'a late result of the old rule'
    for second in (6, 7):
        told = watched.see(changed, 'rear', second, 0.9)
    assert told == ['a rear BEGIN']
    (lost,) = watched.rules.remove_rule('a', 8 * S)
    assert (lost.kind, lost.severity) == (EventKind.LOST, 2) and 'removed' in lost.reason
    assert watched.rules.states() == () and watched.see(changed, 'rear', 9, 0.9) == []


def test_a_jump_of_the_clock_loses_events_and_makes_all_rules_due() -> None:
    watched = Watched()
    rule = watched.set('a', cameras=('front',))
    watched.rules.due('front', 5 * S)
    for second in (5, 6):
        watched.see(rule, 'front', second, 0.9)
    (lost,) = watched.rules.clock_jumped('ROS time jumped back by 5 s', S)
    assert (lost.kind, lost.reason) == (EventKind.LOST, 'ROS time jumped back by 5 s')
    assert watched.rules.due('front', 5 * S) != ()


def test_only_an_image_without_anything_bright_is_too_dark() -> None:
    image = np.zeros((112, 168, 3), np.uint8)
    assert is_too_dark(image, 12) and not is_too_dark(image, 0)
    image[:, :8, 2] = 200  # a lamp at the edge, in one channel
    assert not is_too_dark(image, 12)
    assert not is_too_dark(image + np.uint8(30), 12)
