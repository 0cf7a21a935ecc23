# SPDX-License-Identifier: Apache-2.0
"""What a running node tells, as plain values: no message of ROS among them.

Stamps are integer nanoseconds of ROS time, in fields that end in `_ns`; durations are seconds, in
fields that end in `_s`.
"""

from __future__ import annotations

import array
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from penguin_ros.frame import NANOSECONDS, to_nanoseconds

Value = TypeVar('Value')
STOP_REASONS = ('none', 'stop token', 'max tokens', 'repetition', 'deadline', 'cancelled', 'error')
CAPTION_STATES = ('ok', 'partial', 'unchanged', 'error')
EVENT_KINDS = ('begin', 'still', 'end', 'lost')
RULE_STATES = ('inactive', 'pending', 'active', 'healing', 'unknown', 'disabled')
SEVERITIES = ('ok', 'warn', 'error')
MEMORY_KINDS = ('caption', 'answer', 'event')


@dataclass(frozen=True)
class SeenFrame:
    """A frame that the model saw: its stamp and its camera."""

    stamp_ns: int
    camera: str


@dataclass(frozen=True)
class Evidence:
    """What a text was based on and what it cost; the meanings are those of penguin_msgs/Evidence.

    `frames` are oldest first.
    """

    frames: tuple[SeenFrame, ...]
    start_ns: int
    end_ns: int
    age_s: float
    model_name: str
    model_digest: str
    backend: str
    precision: str
    visual_tokens: int
    prompt_tokens: int
    generated_tokens: int
    reused_tokens: int
    wait_s: float
    encode_s: float
    prefill_s: float
    decode_s: float
    first_token_latency_s: float
    stop_reason: str
    is_truncated: bool
    is_stale: bool
    frames_dropped: int
    unchanged_since_ns: int
    endpoint: str
    fallback_reason: str


@dataclass(frozen=True)
class Answer:
    """An answer. `probabilities` are those of the choices, by choice; `value` is what JSON that was
    asked for says; `logprobs` are pairs of token and log probability.
    """

    id: str
    question: str
    text: str
    camera: str
    choice: str
    probabilities: Mapping[str, float]
    cannot_tell: float
    is_cannot_tell: bool
    other_mass: float
    confidence: float
    value: Any
    logprobs: tuple[tuple[str, float], ...]
    conversation: str
    evidence: Evidence

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Caption:
    """A caption; `state` is one of CAPTION_STATES, `error_message` says why there is no text."""

    text: str
    camera: str
    state: str
    stamp_ns: int
    error_message: str
    evidence: Evidence

    def __str__(self) -> str:
        return self.text or self.error_message


@dataclass(frozen=True)
class Event:
    """Something that a rule watches for; `kind` is one of EVENT_KINDS, `picture` is a JPEG."""

    id: str
    rule: str
    condition: str
    kind: str
    camera: str
    start_ns: int
    end_ns: int
    probability: float
    peak: float
    severity: str
    reason: str
    picture: bytes | None
    evidence: Evidence


@dataclass(frozen=True)
class RuleState:
    """How a rule is doing on a camera; `state` is one of RULE_STATES."""

    rule: str
    camera: str
    state: str
    reason: str
    probability: float
    evaluated_ns: int
    evaluations: int
    event: str


@dataclass(frozen=True)
class WatchedRule:
    """A rule of the node; `settings` are all fields of penguin_msgs/Rule, durations in seconds."""

    id: str
    condition: str
    origin: str
    settings: Mapping[str, Any]
    states: tuple[RuleState, ...]


@dataclass(frozen=True)
class Evaluation:
    """A condition evaluated once."""

    probability: float
    raw_probability: float
    other_mass: float
    probabilities: Mapping[str, float]
    reaches_begin: bool
    evidence: Evidence


@dataclass(frozen=True)
class Place:
    """Where the robot was, in metres."""

    frame_id: str
    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Memory:
    """Something that a memory node remembers; `kind` is one of MEMORY_KINDS, `picture` a JPEG."""

    id: int
    kind: str
    node: str
    camera: str
    start_ns: int
    end_ns: int
    text: str
    question: str
    place: Place | None
    score: float
    matches: tuple[str, ...]
    has_picture: bool
    picture: bytes | None

    def __str__(self) -> str:
        return self.text


def evidence_of(message: Any) -> Evidence:
    """Returns a penguin_msgs/Evidence as a value."""
    frames = tuple(SeenFrame(to_nanoseconds(frame.stamp), frame.camera) for frame in message.frames)
    return _value(
        Evidence, message, frames=frames, stop_reason=_word(STOP_REASONS, message.stop_reason)
    )


def answer_of(message: Any) -> Answer:
    """Returns a penguin_msgs/Answer as a value."""
    return _value(
        Answer,
        message,
        probabilities=_probabilities(message),
        value=json.loads(message.json) if message.json else None,
        logprobs=tuple((token.token, float(token.logprob)) for token in message.logprobs),
        evidence=evidence_of(message.evidence),
    )


def caption_of(message: Any) -> Caption:
    """Returns a penguin_msgs/Caption as a value."""
    return _value(
        Caption,
        message,
        state=_word(CAPTION_STATES, message.state),
        stamp_ns=to_nanoseconds(message.header.stamp),
        evidence=evidence_of(message.evidence),
    )


def event_of(message: Any) -> Event:
    """Returns a penguin_msgs/Event as a value."""
    return _value(
        Event,
        message,
        kind=_word(EVENT_KINDS, message.kind),
        probability=float(message.probabilities[-1]) if len(message.probabilities) else 0.0,
        severity=_word(SEVERITIES, message.severity),
        picture=_picture(message),
        evidence=evidence_of(message.evidence),
    )


def rule_state_of(message: Any) -> RuleState:
    """Returns a penguin_msgs/RuleState as a value."""
    return _value(RuleState, message, state=_word(RULE_STATES, message.state))


def evaluation_of(response: Any) -> Evaluation:
    """Returns the response of TestRule as a value."""
    return _value(
        Evaluation,
        response,
        probabilities=_probabilities(response),
        evidence=evidence_of(response.evidence),
    )


def memory_of(message: Any) -> Memory:
    """Returns a penguin_msgs/MemoryEntry as a value."""
    place = None
    if message.has_pose:
        at = message.pose.pose.position
        place = Place(message.pose.header.frame_id, at.x, at.y, at.z)
    return _value(
        Memory,
        message,
        kind=_word(MEMORY_KINDS, message.kind),
        place=place,
        matches=tuple(message.matches),
        picture=_picture(message),
    )


def _value(made: type[Value], message: Any, **given: Any) -> Value:
    """Makes a value of the fields of a message; those in `given` are made already."""
    for field in fields(made):  # type: ignore[arg-type]
        if field.name not in given:
            given[field.name] = _field(message, field.name)
    return made(**given)


def _field(message: Any, name: str) -> Any:
    if name.endswith('_ns'):
        return to_nanoseconds(getattr(message, name.removesuffix('_ns')))
    if name.endswith('_s'):
        return to_nanoseconds(getattr(message, name.removesuffix('_s'))) / NANOSECONDS
    value = getattr(message, name)
    return list(value) if isinstance(value, array.array) else value


def _probabilities(message: Any) -> dict[str, float]:
    return dict(zip(message.choices, map(float, message.probabilities), strict=True))


def _picture(message: Any) -> bytes | None:
    return bytes(message.picture[0].data) if message.picture else None


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else str(number)
