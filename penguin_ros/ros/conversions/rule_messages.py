# SPDX-License-Identifier: Apache-2.0
"""Converts rules, their states and their events to penguin_msgs, and rules from it.

Nothing is checked here: the core checks a rule, whose numbers come as they were sent.
"""

from __future__ import annotations

import array
from collections.abc import Iterable
from typing import Any

import cv2
from penguin_msgs.msg import Event as EventMessage
from penguin_msgs.msg import Rule as RuleMessage
from penguin_msgs.msg import RuleState as RuleStateMessage
from penguin_msgs.msg import RuleStates
from sensor_msgs.msg import CompressedImage

from penguin_ros.frame import Frame, to_nanoseconds
from penguin_ros.request import Evidence
from penguin_ros.ros.conversions.messages import evidence_message
from penguin_ros.ros.conversions.times import duration_message, time_message
from penguin_ros.rules.event import Event, RuleState
from penguin_ros.rules.rule import Rule
from penguin_ros.text import cleaned

_UINT32_MAX = 2**32 - 1
JPEG_QUALITY = 85
_NUMBERS = (
    'threshold_begin',
    'threshold_end',
    'confirm_count',
    'confirm_window',
    'heal_count',
    'heal_window',
    'severity',
    'wants_picture',
    'is_uncalibrated',
    'is_disabled',
)
_DURATIONS = ('period', 'clip', 'min_duration', 'cooldown')


def rule_from(message: Any) -> Rule:
    """Returns the rule of a message, as it was sent."""
    numbers: dict[str, Any] = {name: getattr(message, name) for name in _NUMBERS}
    numbers |= {f'{name}_ns': to_nanoseconds(getattr(message, name)) for name in _DURATIONS}
    return Rule(
        id=message.id,
        condition=message.condition,
        cameras=tuple(message.cameras),
        choices=tuple(message.choices),
        firing_choice=message.firing_choice,
        valid_times=tuple(message.valid_times),
        **numbers,
    )


def rule_message(rule: Rule) -> RuleMessage:
    """Returns a rule as a message."""
    return RuleMessage(
        id=rule.id,
        condition=cleaned(rule.condition),
        cameras=list(rule.cameras),
        choices=[cleaned(choice) for choice in rule.choices],
        firing_choice=cleaned(rule.firing_choice),
        valid_times=list(rule.valid_times),
        **{name: getattr(rule, name) for name in _NUMBERS if name != 'severity'},
        severity=int(rule.severity),
        **{name: duration_message(getattr(rule, f'{name}_ns')) for name in _DURATIONS},
    )


def states_message(states: Iterable[RuleState], now_ns: int) -> RuleStates:
    """Returns the message for `~/rule_states`."""
    return RuleStates(stamp=time_message(now_ns), states=[state_message(each) for each in states])


def state_message(state: RuleState) -> RuleStateMessage:
    """Returns how a rule is doing on one camera."""
    return RuleStateMessage(
        rule=state.rule,
        camera=state.camera,
        state=int(state.state),
        reason=cleaned(state.reason),
        probability=state.probability,
        other_mass=state.other_mass,
        since=time_message(state.since_ns),
        evaluated=time_message(state.evaluated_ns),
        evaluations=min(state.evaluations, _UINT32_MAX),
        achieved_period=duration_message(state.achieved_period_ns),
        keeps_period=state.keeps_period,
        event=state.event,
    )


def event_message(event: Event, evidence: Evidence, picture: Frame | None = None) -> EventMessage:
    """Returns the message for `~/event`; `picture` is the frame that it carries as JPEG."""
    message = EventMessage(
        id=event.id,
        rule=event.rule,
        condition=cleaned(event.condition),
        kind=int(event.kind),
        camera=event.camera,
        start=time_message(event.start_ns),
        end=time_message(event.end_ns),
        probabilities=[each.probability for each in event.probabilities],
        probability_stamps=[time_message(each.stamp_ns) for each in event.probabilities],
        peak=event.peak,
        severity=int(event.severity),
        reason=cleaned(event.reason),
        evidence=evidence_message(evidence),
        picture=[] if picture is None else [_picture(picture)],
    )
    message.header.stamp = time_message(event.stamp_ns)
    if message.evidence.frames:
        message.header.frame_id = message.evidence.frames[-1].frame_id
    return message


def _picture(frame: Frame) -> CompressedImage:
    picture = CompressedImage(format='rgb8; jpeg compressed bgr8')
    picture.header.stamp = time_message(frame.stamp_ns)
    picture.header.frame_id = cleaned(frame.frame_id)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    is_encoded, content = cv2.imencode('.jpg', frame.image[:, :, ::-1], quality)
    # rclpy takes an array as it is, and checks the elements of anything else one by one.
    picture.data = array.array('B', content.tobytes() if is_encoded else b'')
    return picture
