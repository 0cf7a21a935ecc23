# SPDX-License-Identifier: Apache-2.0
"""Rules are evaluated when they are due, between questions and captions, and become events."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from support.live_pipeline import SECOND, START, past
from support.watched_rules import WatchedRules

from penguin_ros.errors import IntervalUnavailable, OutOfMemory, UnknownCamera
from penguin_ros.frame import Frame
from penguin_ros.requests.rule_job import RuleResults
from penguin_ros.rules.event import State
from penguin_ros.rules.rule import Rule

DOG = Rule('r', 'Is there a dog?', wants_picture=True)
CAT = Rule('s', 'Is there a cat?')


def test_a_condition_that_holds_begins_an_event_and_one_that_ceases_ends_it(
    tiny_checkpoint: Path,
) -> None:
    with WatchedRules(tiny_checkpoint, DOG, CAT) as watched:
        watched.show(1, 2)
        assert watched.state().state is State.INACTIVE and not watched.found
        watched.holding = {'dog'}
        watched.show(3)
        assert watched.state().state is State.PENDING
        watched.show(4, 5)
        begin = watched.found[0]
        assert watched.kinds == ['begin r'] and watched.state().state is State.ACTIVE
        assert begin.event.start_ns == START + 3 * SECOND == begin.event.stamp_ns - SECOND
        assert begin.evidence.end_ns == begin.event.stamp_ns
        assert [ref.stamp_ns for ref in begin.evidence.frames][-1] == begin.event.stamp_ns
        assert begin.picture is not None and begin.picture.stamp_ns == begin.event.stamp_ns
        watched.holding = set()
        watched.show(6, 7, 8)
        assert watched.kinds == ['begin r', 'end r']
        assert watched.found[1].event.id == begin.event.id
        assert watched.state('s').evaluations == 8, 'the other one was evaluated as often'


def test_all_due_rules_of_a_camera_are_read_in_few_passes_over_one_prefill(
    tiny_checkpoint: Path,
) -> None:
    rules = [Rule(f'r{number}', f'Is there a dog {number}?') for number in range(20)]
    with WatchedRules(tiny_checkpoint, *rules, model__prefill_chunk=4096) as watched:
        watched.show(1)
        passes = [watched.steps.count(step) for step in ('encode', 'prefill', 'branches')]
        assert passes[:2] == [1, 1] and passes[2] <= 5, 'of 20 rules'
        assert all(watched.state(rule.id).evaluations == 1 for rule in rules)


def test_rules_of_another_period_or_another_clip_are_read_when_they_are_due(
    tiny_checkpoint: Path,
) -> None:
    rare = Rule('rare', 'Is there a dog?', period_ns=3 * SECOND)
    short = Rule('short', 'Is there a dog?', clip_ns=SECOND)
    with WatchedRules(tiny_checkpoint, DOG, rare, short) as watched:
        watched.show(*range(1, 8))
        assert [watched.state(name).evaluations for name in ('r', 'rare', 'short')] == [7, 3, 7]


def test_an_evaluation_that_a_question_displaced_is_made_up_for_however_rare_it_is(
    tiny_checkpoint: Path,
) -> None:
    daily = Rule('r', 'Is there a dog?', period_ns=86400 * SECOND)
    with WatchedRules(tiny_checkpoint, daily, model__kv_slots=1) as watched:
        watched.gate.close('branches')
        watched.offer(1)
        watched.gate.wait_arrived()
        watched.ask('q')
        watched.gate.open()
        watched.settle()
        assert watched.answers['q'][0].error is None
        counts = watched.pipeline.status().counts
        assert (counts.rules_dropped, counts.rules_finished) == (1, 1)
        assert watched.state().evaluations == 1


def test_frames_that_come_while_the_engine_is_busy_lead_to_one_evaluation_of_the_newest(
    tiny_checkpoint: Path,
) -> None:
    with WatchedRules(tiny_checkpoint, DOG) as watched:
        watched.gate.close('branches')
        watched.offer(1)
        watched.gate.wait_arrived()
        for second in (2, 3, 4):
            watched.offer(second)
        watched.steady.turn(6 * SECOND)
        watched.runner.tick()
        assert watched.state().state is State.UNKNOWN and 'busy' in watched.state().reason
        watched.gate.open()
        watched.settle()
        assert watched.state().evaluations == 2
        assert watched.state().evaluated_ns == START + 4 * SECOND


def test_without_frames_nobody_knows_and_the_reason_is_that_of_the_camera(
    tiny_checkpoint: Path,
) -> None:
    with WatchedRules(tiny_checkpoint, DOG, cameras=('front', 'rear')) as watched:
        watched.runner.tick()
        assert watched.state().state is State.UNKNOWN
        assert 'camera front has no frames' in watched.state().reason
        watched.show(1)
        watched.runner.tick()
        assert watched.state().state is State.INACTIVE
        watched.pipeline.note_reason('front', 'the plug was pulled')
        watched.now.turn(10 * SECOND)
        watched.steady.turn(10 * SECOND)
        watched.runner.tick()
        assert watched.state().state is State.UNKNOWN
        assert 'the plug was pulled' in watched.state().reason


def test_a_dark_picture_leaves_rules_unknown(tiny_checkpoint: Path) -> None:
    with WatchedRules(tiny_checkpoint, DOG) as watched:
        config = watched.config
        assert config.rule.dark_level == 0
        watched.show(1)
    with WatchedRules(tiny_checkpoint, DOG) as watched:
        rule = dataclasses.replace(watched.config.rule, dark_level=12)
        watched.pipeline.configure(dataclasses.replace(watched.config, rule=rule))
        watched.now.turn(SECOND)
        black = np.zeros((56, 84, 3), np.uint8)
        watched.pipeline.add_frame(Frame(START + SECOND, black, 'front'))
        watched.runner.note_frame('front', START + SECOND)
        watched.settle()
        assert watched.state().state is State.UNKNOWN and 'dark' in watched.state().reason
        assert watched.steps.count('branches') == 0, 'the model was not asked'


def test_a_model_that_fails_leaves_rules_unknown_and_the_next_evaluation_ends_that(
    tiny_checkpoint: Path,
) -> None:
    def fail(step: str) -> None:
        if step == 'branches':
            raise OutOfMemory('the device is full')

    with WatchedRules(tiny_checkpoint, DOG) as watched:
        watched.in_step = fail
        watched.show(1)
        assert watched.state().state is State.UNKNOWN
        assert 'the device is full' in watched.state().reason
        watched.in_step = lambda step: None
        watched.show(2)
        assert watched.state().state is State.INACTIVE


def test_a_clock_that_jumps_in_mid_event_loses_it_and_everything_begins_anew(
    tiny_checkpoint: Path,
) -> None:
    with WatchedRules(tiny_checkpoint, DOG) as watched:
        watched.holding = {'dog'}
        watched.show(10, 11, 12)
        watched.pipeline.flush('time was set back')
        watched.runner.clock_jumped('time was set back')
        assert watched.kinds[-1] == 'lost r'
        assert watched.found[-1].event.reason == 'time was set back'
        watched.show(20)
        assert watched.state().state is State.PENDING
        watched.show(21)
        assert watched.kinds[-1] == 'begin r'
        assert watched.found[-1].event.id != watched.found[0].event.id


def test_an_event_ends_where_the_valid_times_of_its_rule_do(tiny_checkpoint: Path) -> None:
    end = time.strftime('%H:%M', time.localtime(START // SECOND + 60))
    rule = Rule('r', 'Is there a dog?', valid_times=(f'00:00-{end}',))
    with WatchedRules(tiny_checkpoint, rule) as watched:
        watched.holding = {'dog'}
        watched.show(1, 2, 3)
        evaluations = watched.state().evaluations
        watched.show(61, 62)
        watched.runner.tick()
        assert watched.kinds == ['begin r', 'end r'] and 'valid' in watched.found[-1].event.reason
        assert watched.state().evaluations == evaluations
        assert watched.state().state is State.DISABLED


def test_deactivated_it_evaluates_nothing_and_says_so(tiny_checkpoint: Path) -> None:
    with WatchedRules(tiny_checkpoint, DOG) as watched:
        watched.show(1)
        watched.pipeline.deactivate('it was deactivated')
        watched.runner.stop('it was deactivated')
        watched.show(2, 3)
        assert watched.state().evaluations == 1
        assert (watched.state().state, watched.state().reason) == (
            State.UNKNOWN,
            'it was deactivated',
        )
        watched.pipeline.activate()
        watched.runner.start(['front'])
        watched.show(4)
        assert watched.state().state is State.INACTIVE


def test_a_rule_is_tested_on_the_present_or_on_the_past(tiny_checkpoint: Path) -> None:
    with WatchedRules(tiny_checkpoint) as watched:
        rule = watched.rules.check_rule(DOG)
        watched.holding = {'dog'}
        watched.show(*range(1, 10))
        results: list[RuleResults] = []
        watched.pipeline.rules.test(rule, 'front', None, results.append)
        watched.settle()
        watched.pipeline.rules.test(rule, '', past(2000, 4000), results.append)
        watched.settle()
        assert [each.done[0].scores[0].probability_of('yes') > 0.99 for each in results] == [
            True
        ] * 2
        assert [each.done[0].evidence.end_ns - START for each in results] == [
            9 * SECOND,
            4 * SECOND,
        ]
        with pytest.raises(IntervalUnavailable):
            watched.pipeline.rules.test(rule, 'front', past(90_000, 91_000), results.append)
        with pytest.raises(UnknownCamera):
            watched.pipeline.rules.test(rule, 'side', None, results.append)


def test_a_choice_fires_when_it_is_the_probable_one(tiny_checkpoint: Path) -> None:
    rule = Rule('r', 'Is it open?', choices=('no', 'yes'), firing_choice='no')
    with WatchedRules(tiny_checkpoint, rule) as watched:
        watched.show(1, 2, 3)
        assert watched.kinds == ['begin r'] and watched.state().probability > 0.99
