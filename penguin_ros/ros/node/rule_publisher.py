# SPDX-License-Identifier: Apache-2.0
"""Publishes what comes of rules: events on `~/event`, and the states of all rules, latched, on
`~/rule_states`. It belongs to the executor's thread.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

from penguin_msgs.msg import Event as EventMessage
from penguin_msgs.msg import RuleStates
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from penguin_ros.frame import NANOSECONDS
from penguin_ros.requests.rule_runner import FoundEvent
from penguin_ros.ros.conversions.rule_messages import event_message, states_message
from penguin_ros.ros.node.captions import LATCHED_QOS
from penguin_ros.rules.event import RuleState

EVENT_QOS = QoSProfile(
    depth=64,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""Whoever comes late may ask for the last ones; who is slow loses the oldest."""
NUMBERS_PERIOD_NS = NANOSECONDS // 2
"""States of which only numbers have changed are published no more often."""
UNHEARD_NS = 5 * NANOSECONDS
"""How long events of a restart wait for the first subscriber."""


class RulePublisher:
    """`counts`: events by the name of their kind since the node was started."""

    def __init__(self, node: Node, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.counts: Counter[str] = Counter()
        self._node = node
        self._steady_ns = steady_ns
        self._events = node.create_publisher(EventMessage, '~/event', EVENT_QOS)
        self._states = node.create_publisher(RuleStates, '~/rule_states', LATCHED_QOS)
        self._waiting: deque[FoundEvent] = deque()
        self._waiting_since_ns = 0
        self._published: tuple[RuleState, ...] | None = None
        self._published_ns = 0

    def publish_events(self, found: Iterable[FoundEvent]) -> None:
        """Publishes events, in order, after those that wait for somebody to hear them."""
        found = list(found)
        if found:
            self.publish_waiting(is_patient=False)
        for each in found:
            self._publish(each)

    def publish_when_heard(self, found: Iterable[FoundEvent]) -> None:
        """Publishes events when there is a subscriber, or after a while: right after the start
        nobody has found the node yet.
        """
        if not self._waiting:
            self._waiting_since_ns = self._steady_ns()
        self._waiting.extend(found)

    def publish_waiting(self, *, is_patient: bool = True) -> None:
        """Publishes the events that wait, when it is time; to be called from time to time."""
        waited_ns = self._steady_ns() - self._waiting_since_ns
        is_heard = self._events.get_subscription_count() > 0
        if is_patient and not is_heard and waited_ns < UNHEARD_NS:
            return
        while self._waiting:
            self._publish(self._waiting.popleft())

    def publish_states(self, states: tuple[RuleState, ...], now_ns: int) -> None:
        """Publishes states that have changed."""
        if states == self._published:
            return
        steady_ns = self._steady_ns()
        is_news = self._published is None or list(map(_words, states)) != list(
            map(_words, self._published)
        )
        if not is_news and steady_ns - self._published_ns < NUMBERS_PERIOD_NS:
            return
        self._published, self._published_ns = states, steady_ns
        self._states.publish(states_message(states, now_ns))

    def _publish(self, found: FoundEvent) -> None:
        self._events.publish(event_message(found.event, found.evidence, found.picture))
        self.counts[found.event.kind.name.lower()] += 1


def _words(state: RuleState) -> tuple[object, ...]:
    """Returns what of a state is no number that every evaluation changes."""
    return state.rule, state.camera, state.state, state.keeps_period, state.event
