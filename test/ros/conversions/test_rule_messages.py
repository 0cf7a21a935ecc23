# SPDX-License-Identifier: Apache-2.0
"""Rules come back from their messages as they went, and states and events carry all they have."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('penguin_msgs.msg')

import PIL.Image
from hypothesis import given
from hypothesis import strategies as st
from penguin_msgs.msg import Event as EventMessage
from penguin_msgs.msg import Rule as RuleMessage
from penguin_msgs.msg import RuleState as RuleStateMessage
from support.graph import stamp_ns

from penguin_ros.config import PenguinConfig
from penguin_ros.frame import Frame, FrameType
from penguin_ros.request import Evidence, FrameRef
from penguin_ros.ros.conversions.rule_messages import (
    event_message,
    rule_from,
    rule_message,
    state_message,
)
from penguin_ros.rules.event import Evaluation, Event, EventKind, RuleState, State
from penguin_ros.rules.rule import Rule, Severity, checked_rule

SECOND = 10**9
TEXT = st.text('abc ?é', min_size=1, max_size=8).filter(lambda text: bool(text.strip()))
RULES = st.builds(
    Rule,
    id=st.text('ab-_.', min_size=1, max_size=8),
    condition=TEXT.map(str.strip),
    cameras=st.sampled_from([(), ('front',), ('front', 'rear')]),
    threshold_begin=st.sampled_from([0.0, 0.5, 0.9]),
    confirm_count=st.integers(0, 2),
    confirm_window=st.integers(2, 9),
    period_ns=st.integers(SECOND, 100 * SECOND),
    cooldown_ns=st.integers(0, 100 * SECOND),
    valid_times=st.sampled_from([(), ('mon-fri 08:00-18:00',)]),
    severity=st.sampled_from(list(Severity)),
    wants_picture=st.booleans(),
    is_uncalibrated=st.booleans(),
    is_disabled=st.booleans(),
)


@given(RULES)
def test_a_rule_comes_back_as_it_went(rule: Rule) -> None:
    checked = checked_rule(rule, PenguinConfig())
    assert checked_rule(rule_from(rule_message(checked)), PenguinConfig()) == checked


def test_every_field_of_the_message_is_one_of_the_rule() -> None:
    names = {each.name.removesuffix('_ns') for each in dataclasses.fields(Rule)}
    assert set(RuleMessage.get_fields_and_field_types()) == names


def test_numbers_of_kinds_states_and_severities_are_those_of_the_messages() -> None:
    assert all(getattr(EventMessage, kind.name) == kind for kind in EventKind)
    assert all(getattr(RuleStateMessage, state.name) == state for state in State)
    assert all(getattr(RuleMessage, severity.name) == severity for severity in Severity)


def test_a_state_and_an_event_carry_all_they_have() -> None:
    state = RuleState('r', 'front', State.UNKNOWN, 'dark\0', 0.5, 0.25, 1, 2, 2**40, 3, False, 'e')
    message = state_message(state)
    assert (message.state, message.reason, message.evaluations) == (4, 'dark', 2**32 - 1)
    assert (message.keeps_period, message.event, stamp_ns(message.evaluated)) == (False, 'e', 2)
    evaluations = Evaluation(SECOND, 0.8), Evaluation(2 * SECOND, 0.9)
    event = Event(
        'e', 'r', 'Is it?', EventKind.END, 'front', 3 * SECOND, 1, 2, evaluations, 0.9, 2, 'gone'
    )
    frame = Frame(3 * SECOND, np.full((8, 16, 3), (250, 10, 10), np.uint8), 'front', 'optical')
    evidence = Evidence((FrameRef(3 * SECOND, 'front', 'optical', FrameType.KEY),))
    told = event_message(event, evidence, frame)
    assert (told.kind, told.reason, told.header.frame_id) == (EventMessage.END, 'gone', 'optical')
    assert stamp_ns(told.header.stamp) == 3 * SECOND
    assert [stamp_ns(each) for each in told.probability_stamps] == [SECOND, 2 * SECOND]
    assert list(told.probabilities) == pytest.approx([0.8, 0.9])
    picture = PIL.Image.open(io.BytesIO(told.picture[0].data.tobytes()))
    red, green, blue = picture.getpixel((8, 4))
    assert picture.size == (16, 8) and red > 200 > 60 > max(green, blue), 'red stays red'
    assert not event_message(replace(event, kind=EventKind.LOST), Evidence()).picture
