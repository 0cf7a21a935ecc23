# SPDX-License-Identifier: Apache-2.0
"""Takes the serialised messages of topics, with the quality of service that they are published
with; topics that have no publisher yet are looked for again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.callback_guard import CallbackGuard

DEPTH = 1000
PICTURE_DEPTH = 10

Take = Callable[[str, str, bytes], None]
"""Gets the topic, the name of its type and a serialised message."""


class Subscriptions:
    """Everything runs on the executor's thread. `refused` says why a topic is not taken; `latched`
    are the topics whose publishers keep messages for those who come later.
    """

    def __init__(self, node: Node, guard: CallbackGuard, check: Callable[[str], None]) -> None:
        self.refused: dict[str, str] = {}
        self.latched: set[str] = set()
        self._node = node
        self._guard = guard
        self._check = check
        self._wanted: dict[str, tuple[Take, int]] = {}
        self._taken: dict[str, Any] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """The topics that were asked for and have no publisher."""
        return tuple(sorted(self._wanted.keys() - self._taken.keys() - self.refused.keys()))

    def want(self, topics: Iterable[str], take: Take, depth: int = DEPTH) -> None:
        """Takes topics as soon as they are published."""
        for topic in topics:
            self._wanted.setdefault(topic, (take, depth))

    def open(self, kind: type, topic: str, take: Take, is_latched: bool) -> None:
        """Takes a topic whose type is known, whether it is published yet or not."""
        profile = QoSProfile(depth=DEPTH)
        if is_latched:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        module = str(kind.__module__).split('.')[0]
        self._subscribe(kind, f'{module}/msg/{kind.__name__}', topic, take, profile)

    def look(self) -> None:
        """Looks for topics that are published by now."""
        waiting = self._wanted.keys() - self._taken.keys()
        if not waiting:
            return
        for topic, kinds in self._node.get_topic_names_and_types():
            if topic in waiting and self._node.count_publishers(topic):
                self._take_found(topic, kinds[0])

    def _take_found(self, topic: str, kind: str) -> None:
        try:
            package, _, name = kind.split('/')
            found = getattr(importlib.import_module(f'{package}.msg'), name)
        except (ImportError, AttributeError) as error:
            self.refused[topic] = f'{kind} is not installed here: {error}'
            return
        try:
            self._check(kind)
        except PenguinError as error:  # the others are taken all the same
            self.refused[topic] = str(error)
            return
        take, depth = self._wanted[topic]
        self._subscribe(found, kind, topic, take, self._offered(topic, depth))

    def _subscribe(self, kind: type, name: str, topic: str, take: Take, qos: QoSProfile) -> None:
        self._check(name)
        self.refused.pop(topic, None)
        if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
            self.latched.add(topic)
        self._taken[topic] = self._node.create_subscription(
            kind, topic, self._guard.wrap(partial(take, topic, name)), qos, raw=True
        )

    def _offered(self, topic: str, depth: int) -> QoSProfile:
        """Returns the strictest quality of service that all publishers offer."""
        profile = QoSProfile(depth=depth)
        for endpoint in self._node.get_publishers_info_by_topic(topic):
            offered = endpoint.qos_profile
            if offered.reliability == ReliabilityPolicy.BEST_EFFORT:
                profile.reliability = ReliabilityPolicy.BEST_EFFORT
        durabilities = {
            endpoint.qos_profile.durability
            for endpoint in self._node.get_publishers_info_by_topic(topic)
        }
        if durabilities == {DurabilityPolicy.TRANSIENT_LOCAL}:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        return profile
