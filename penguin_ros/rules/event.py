# SPDX-License-Identifier: Apache-2.0
"""What comes out of rules: evaluations, events and states, as values. Numbers and names of kinds
and states are those of penguin_msgs/Event and penguin_msgs/RuleState.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from penguin_ros.rules.rule import Severity


class EventKind(IntEnum):
    """What a message about an event says."""

    BEGIN = 0
    STILL = 1
    END = 2
    LOST = 3


class State(IntEnum):
    """How a rule is doing on one camera."""

    INACTIVE = 0
    PENDING = 1
    ACTIVE = 2
    HEALING = 3
    UNKNOWN = 4
    DISABLED = 5


@dataclass(frozen=True)
class Evaluation:
    """A condition's probability on one clip; `stamp_ns` is that of its newest frame, `other_mass`
    the probability that the model gave to neither of the answers.
    """

    stamp_ns: int
    probability: float
    other_mass: float = 0.0


@dataclass(frozen=True)
class Event:
    """One message about an event; all of them with the same `id` are about the same one.

    `stamp_ns` is the newest frame that led to it, `start_ns` the first evaluation at which the
    condition held, `end_ns` the last one. `probabilities` are the evaluations that led to it,
    oldest first. `reason` says why it ended where that is not that the condition ceased to hold.
    """

    id: str
    rule: str
    condition: str
    kind: EventKind
    camera: str
    stamp_ns: int
    start_ns: int
    end_ns: int
    probabilities: tuple[Evaluation, ...]
    peak: float
    severity: int = Severity.OK
    reason: str = ''


@dataclass(frozen=True)
class RuleState:
    """How a rule is doing on one camera; stamps are those of frames, 0 before the first one.

    `reason`: why the state is UNKNOWN or DISABLED, or why the period is not kept. `event` is the
    id of the event that is under way.
    """

    rule: str
    camera: str
    state: State
    reason: str
    probability: float
    other_mass: float
    since_ns: int
    evaluated_ns: int
    evaluations: int
    achieved_period_ns: int
    keeps_period: bool
    event: str


@dataclass(frozen=True)
class SavedMonitor:
    """What of a rule on a camera has to outlive a restart of the node.

    `event` is '' where none is under way; `evaluated_ns` is the stamp of the last evaluation that
    said something, `cooldown_until_ns` 0 without a cooldown. `condition` tells whether the rule is
    still the same.
    """

    rule: str
    camera: str
    condition: str
    evaluated_ns: int
    cooldown_until_ns: int = 0
    event: str = ''
    start_ns: int = 0
    held_ns: int = 0
    peak: float = 0.0
