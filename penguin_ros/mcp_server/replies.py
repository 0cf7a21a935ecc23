# SPDX-License-Identifier: Apache-2.0
"""What the tools return: values of the client as plain JSON, with what a text rests on.

Stamps are text twice: a time that people read, and exact nanoseconds, which JavaScript's numbers
could not hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from penguin_ros.client import Answer, Evidence, Memory, WatchedRule

NANOSECONDS = 1_000_000_000
MAX_FRAMES = 64


@dataclass(frozen=True)
class FrameReply:
    """A picture that the model saw: when (ROS time) and by which camera."""

    time: str
    stamp_ns: str
    camera: str


@dataclass(frozen=True)
class EvidenceReply:
    """What a text rests on. `age_s`: how old the newest picture was; `is_stale`: too old for "now";
    `frame_count`: all pictures, of which the newest are in `frames`.
    """

    frames: list[FrameReply]
    frame_count: int
    age_s: float
    is_stale: bool
    is_truncated: bool
    stop_reason: str
    model: str
    model_digest: str
    endpoint: str
    generated_tokens: int
    first_token_s: float


@dataclass(frozen=True)
class AnswerReply:
    """An answer. `probabilities` are those of the choices, `cannot_tell` that of not knowing;
    `conversation` is the id that continues this one.
    """

    text: str
    camera: str
    choice: str
    probabilities: dict[str, float]
    cannot_tell: float
    confidence: float
    conversation: str
    evidence: EvidenceReply


@dataclass(frozen=True)
class MemoryReply:
    """Something that the robot remembers; `id` is what look_again takes. `place` is in metres."""

    id: int
    kind: str
    time: str
    stamp_ns: str
    camera: str
    text: str
    question: str
    place: dict[str, Any] | None
    score: float
    found_by: list[str]
    has_picture: bool


@dataclass(frozen=True)
class RecallReply:
    """What was found."""

    memories: list[MemoryReply]


@dataclass(frozen=True)
class LastSeenReply:
    """When a thing was seen last; `probability` is that of a look at the picture, 0 without one."""

    is_found: bool
    is_confirmed: bool
    probability: float
    memory: MemoryReply | None
    refuted: list[MemoryReply]


@dataclass(frozen=True)
class RuleStateReply:
    """How a rule is doing on a camera."""

    camera: str
    state: str
    probability: float
    evaluations: int
    reason: str


@dataclass(frozen=True)
class RuleReply:
    """A rule that the robot watches by itself."""

    id: str
    condition: str
    origin: str
    severity: int
    is_disabled: bool
    states: list[RuleStateReply]


@dataclass(frozen=True)
class RulesReply:
    """All rules."""

    rules: list[RuleReply]


@dataclass(frozen=True)
class EvaluationReply:
    """A condition evaluated once; `would_begin`: an event would begin at this probability."""

    probability: float
    other_mass: float
    would_begin: bool
    evidence: EvidenceReply


@dataclass(frozen=True)
class CameraReply:
    """A camera of the robot."""

    name: str
    topic: str
    rate_hz: float
    age_s: float
    problem: str


@dataclass(frozen=True)
class StatusReply:
    """The robot: its node, whether a model is loaded, its cameras and its last error."""

    node: str
    state: str
    is_model_loaded: bool
    cameras: list[CameraReply]
    questions_queued: int
    last_error: str


def answer_reply(answer: Answer) -> AnswerReply:
    """Returns an answer as a reply."""
    return AnswerReply(
        answer.text,
        answer.camera,
        answer.choice,
        dict(answer.probabilities),
        answer.cannot_tell,
        answer.confidence,
        answer.conversation,
        evidence_reply(answer.evidence),
    )


def evidence_reply(evidence: Evidence) -> EvidenceReply:
    """Returns evidence as a reply, with the newest MAX_FRAMES frames."""
    return EvidenceReply(
        [
            FrameReply(shown_time(frame.stamp_ns), str(frame.stamp_ns), frame.camera)
            for frame in evidence.frames[-MAX_FRAMES:]
        ],
        len(evidence.frames),
        evidence.age_s,
        evidence.is_stale,
        evidence.is_truncated,
        evidence.stop_reason,
        evidence.model_name,
        evidence.model_digest,
        evidence.endpoint,
        evidence.generated_tokens,
        evidence.first_token_latency_s,
    )


def memory_reply(memory: Memory) -> MemoryReply:
    """Returns an entry of the memory as a reply, without its picture."""
    place = memory.place
    return MemoryReply(
        memory.id,
        memory.kind,
        shown_time(memory.end_ns),
        str(memory.end_ns),
        memory.camera,
        memory.text,
        memory.question,
        None if place is None else {'frame': place.frame_id, 'xyz': [place.x, place.y, place.z]},
        memory.score,
        list(memory.matches),
        memory.has_picture,
    )


def rules_reply(rules: Sequence[WatchedRule]) -> RulesReply:
    """Returns rules as a reply."""
    return RulesReply([rule_reply(rule) for rule in rules])


def rule_reply(rule: WatchedRule) -> RuleReply:
    """Returns a rule with its states as a reply."""
    states = [
        RuleStateReply(each.camera, each.state, each.probability, each.evaluations, each.reason)
        for each in rule.states
    ]
    settings = rule.settings
    return RuleReply(
        rule.id,
        rule.condition,
        rule.origin,
        settings['severity'],
        settings['is_disabled'],
        states,
    )


def status_reply(node: str, status: dict[str, Any]) -> StatusReply:
    """Returns the fields of a status as a reply."""
    cameras = [
        CameraReply(each['name'], each['topic'], each['rate_hz'], each['age'], each['cause'])
        for each in status['cameras']
    ]
    return StatusReply(
        node,
        status['lifecycle_state'],
        status['is_model_loaded'],
        cameras,
        status['questions_queued'],
        status['last_error_message'],
    )


def shown_time(stamp_ns: int) -> str:
    """Returns a stamp as a time of ISO 8601, in UTC; a simulation begins in 1970."""
    whole = datetime.fromtimestamp(stamp_ns // NANOSECONDS, timezone.utc)
    return f'{whole:%Y-%m-%dT%H:%M:%S}.{stamp_ns % NANOSECONDS // 1_000_000:03d}Z'


def evidence_line(evidence: EvidenceReply) -> str:
    """Returns in a sentence what a text rests on, for agents that read texts only."""
    if not evidence.frames:
        return f'(No picture was looked at; {evidence.model}.)'
    stale = ', which is too old for now' if evidence.is_stale else ''
    newest = evidence.frames[-1]
    return (
        f'(From {evidence.frame_count} pictures of {newest.camera or "the question"}, the newest '
        f'of {newest.time}, {evidence.age_s:.1f} s old{stale}; {evidence.model}.)'
    )
