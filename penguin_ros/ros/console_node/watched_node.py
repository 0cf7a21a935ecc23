# SPDX-License-Identifier: Apache-2.0
"""What the console hears of one penguin node, as long as that is there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import Answer, Caption, Event, ModelInfo, RuleStates, Status
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.ros.client.locked_action_client import LockedActionClient
from penguin_ros.ros.client.session import ACTION_NAME
from penguin_ros.ros.console_node.camera_feed import CameraFeed
from penguin_ros.ros.console_node.page_values import page_value
from penguin_ros.ros.console_node.remedies import silence_in_words, status_in_words

DEPTH = 1000
MAX_PICTURES = 64
MAX_POINTS = 240
SILENCE_S = 4.0
"""A status comes every second."""

Publish = Callable[[str, str, Mapping[str, Any]], None]


class WatchedNode:
    """Made and closed on the executor's thread; `publish` gets what the page shall show.

    `is_closed`: it is gone, and answers nothing that it was asked. `pictures` are the key frames of
    its last events, by camera and stamp: cameras that are synchronised share stamps. `series` has
    the last probabilities of each rule on each camera, with the stamp of their newest frame.
    """

    def __init__(self, node: Node, name: str, publish: Publish, pool: ThreadPoolExecutor) -> None:
        self.name = name
        self.is_closed = False
        self.feeds: dict[str, CameraFeed] = {}
        self.pictures: dict[tuple[str, int], bytes] = {}
        self.series: dict[tuple[str, str], deque[tuple[int, float]]] = {}
        self.clients: dict[tuple[type, str], Any] = {}
        self._node = node
        self._publish = publish
        self._pool = pool
        self._time: tuple[int, float] | None = None
        self._heard_s = time.monotonic()
        deep = QoSProfile(depth=DEPTH)
        self.action = LockedActionClient(
            node,
            AnswerQuestion,
            f'{name}/{ACTION_NAME}',
            goal_service_qos_profile=deep,
            result_service_qos_profile=deep,
            cancel_service_qos_profile=deep,
        )
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(kind, f'{name}/{topic}', callback, qos)
            for kind, topic, callback, qos in (
                (Caption, 'caption', self._on('caption'), deep),
                (Answer, 'answer', self._on('answer'), deep),
                (Event, 'event', self._on_event, deep),
                (RuleStates, 'rule_states', self._on_rule_states, latched),
                (Status, 'status', self._on_status, latched),
                (ModelInfo, 'model_info', self._on('model_info'), latched),
            )
        ]

    def close(self) -> None:
        """Ends everything that belongs to the node."""
        self.is_closed = True
        for feed in self.feeds.values():
            feed.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        for client in self.clients.values():
            self._node.destroy_client(client)
        self.action.destroy()

    def now_ns(self) -> int:
        """Returns the time of the node's clock, which may be simulated: that of its last status,
        and what has passed since then.
        """
        if self._time is None:
            return int(self._node.get_clock().now().nanoseconds)
        stamp_ns, then = self._time
        return stamp_ns + round((time.monotonic() - then) * NANOSECONDS)

    def tell_silence(self) -> None:
        """Tells the page when the node has said nothing for a while: one that was killed stays in
        the graph for many seconds.
        """
        silent_s = time.monotonic() - self._heard_s
        if silent_s > SILENCE_S:
            words = silence_in_words(self.name, silent_s)
            self._publish('diagnostics', words['name'], words)

    def client(self, kind: type, name: str) -> Any:
        """Returns the client of a service of the node, made when it is first asked for."""
        key = kind, name
        if key not in self.clients:
            self.clients[key] = self._node.create_client(kind, f'{self.name}/{name}')
        return self.clients[key]

    def _on(self, kind: str) -> Callable[[Any], None]:
        return lambda message: self._publish(kind, self.name, {kind: page_value(message)})

    def _on_status(self, message: Status) -> None:
        self._heard_s = time.monotonic()
        self._time = to_nanoseconds(message.header.stamp), self._heard_s
        for camera in message.cameras:
            topic = camera.topic.removesuffix('/compressed')
            if topic and camera.name not in self.feeds:
                self.feeds[camera.name] = CameraFeed(self._node, topic, self._pool)
            elif topic:
                self.feeds[camera.name].follow(topic)
        self._publish('status', self.name, {'status': page_value(message)})
        words = status_in_words(self.name, message)
        stamp = str(to_nanoseconds(message.header.stamp))
        self._publish('diagnostics', words['name'], {**words, 'stamp': stamp})

    def _on_rule_states(self, message: RuleStates) -> None:
        series: dict[tuple[str, str], deque[tuple[int, float]]] = {}
        for state in message.states:
            key = state.rule, state.camera
            points = series[key] = self.series.get(key, deque(maxlen=MAX_POINTS))
            stamp_ns = to_nanoseconds(state.evaluated)
            if stamp_ns and (not points or points[-1][0] != stamp_ns):
                points.append((stamp_ns, state.probability))
        self.series = series  # a new one: the loop's thread reads it meanwhile
        self._publish('rule_states', self.name, {'rule_states': page_value(message)})

    def _on_event(self, message: Event) -> None:
        for picture in message.picture:
            key = message.camera, to_nanoseconds(picture.header.stamp)
            self.pictures[key] = bytes(picture.data)
            while len(self.pictures) > MAX_PICTURES:
                del self.pictures[next(iter(self.pictures))]
        self._publish('event', self.name, {'event': page_value(message)})
