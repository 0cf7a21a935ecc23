# SPDX-License-Identifier: Apache-2.0
"""Looks who publishes a camera's topics, and chooses which of its two topics to subscribe to."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.camera_input.observation import Publisher
from penguin_ros.ros.conversions.topics import AUTO, COMPRESSED, RAW, TYPES

PATIENCE_NS = 3 * NANOSECONDS
LONGEST_PATIENCE_NS = 60 * NANOSECONDS


@dataclass(frozen=True)
class Heard:
    """What came over the transport in use: steady times of the last message and the last frame that
    is used, and whether there is reason to doubt it.

    `is_undefined`: the last message was refused for what its samples are; `is_losing`: the
    middleware has lost messages lately.
    """

    arrival_ns: int | None = None
    frame_ns: int | None = None
    is_undefined: bool = False
    is_losing: bool = False


class TransportChoice:
    """The transport that a camera is subscribed to: the configured one, or what `auto` chooses.

    `auto` takes the topic that has a matching publisher, raw first, and decides with the first
    frame that is used: however slow the camera, it stays then while that publisher is there and the
    middleware loses nothing. Before, where nothing came for PATIENCE_NS although the other topic
    has a publisher too (raw images that the transport loses, say), it tries that one; each try
    doubles the patience. Where images came and none could be used, the other one is tried once, and
    never when they are no colours at all, which the other would only hide.
    """

    def __init__(self, transport: str, now_ns: int) -> None:
        self._is_auto = transport == AUTO
        self.current = RAW if self._is_auto else transport
        self._since_ns = now_ns
        self._patience_ns = PATIENCE_NS
        self._refused: set[str] = set()

    def choose(self, published: Set[str], heard: Heard, now_ns: int) -> str:
        """Returns the transport to use now, given those that have a matching publisher."""
        other = COMPRESSED if self.current == RAW else RAW
        if not self._is_auto or other not in published:
            return self.current
        if self.current not in published:
            self._change(other, now_ns)
        elif now_ns - self._heard_ns(heard) > self._patience_ns and self._is_open(heard, other):
            self._patience_ns = min(2 * self._patience_ns, LONGEST_PATIENCE_NS)
            self._change(other, now_ns)
        return self.current

    def _heard_ns(self, heard: Heard) -> int:
        return max(self._since_ns, heard.frame_ns or self._since_ns)

    def _is_open(self, heard: Heard, other: str) -> bool:
        """Returns whether another transport may do better than the one in use."""
        if heard.frame_ns is not None and heard.frame_ns >= self._since_ns:
            return heard.is_losing
        if heard.arrival_ns is None or heard.arrival_ns < self._since_ns:
            return True
        if heard.is_undefined or other in self._refused:
            return False
        self._refused.add(self.current)
        return True

    def _change(self, transport: str, now_ns: int) -> None:
        self.current = transport
        self._since_ns = now_ns


def publishers(node: Node, topic: str, requested: QoSProfile) -> list[Publisher]:
    """Returns the publishers on a resolved topic, each with the policies that do not match a
    subscription of QoS `requested`.
    """
    return [
        Publisher(
            _full_name(endpoint),
            topic,
            endpoint.topic_type,
            _clash(endpoint.qos_profile, requested),
            _is_latched(endpoint.qos_profile),
        )
        for endpoint in node.get_publishers_info_by_topic(topic)
    ]


def image_topics(node: Node) -> list[str]:
    """Returns the topics of the graph that carry images and have a publisher."""
    return sorted(
        topic
        for topic, types in node.get_topic_names_and_types()
        if set(types) & set(TYPES.values()) and node.count_publishers(topic)
    )


def _full_name(endpoint: Any) -> str:
    if endpoint.node_name.startswith('_NODE_NAME_UNKNOWN'):
        return 'a node without a name'  # a publisher may be discovered a moment before its node
    return f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}'


def _is_latched(offered: QoSProfile) -> bool:
    """Returns whether those who come later get the last messages, which takes reliability too."""
    return bool(
        offered.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and offered.reliability == ReliabilityPolicy.RELIABLE
    )


def _clash(offered: QoSProfile, requested: QoSProfile) -> tuple[str, ...]:
    """Returns the policies of which a publisher offers less than is requested.

    Only those are compared that a camera's subscription can be given.
    """
    clash = []
    if (
        requested.reliability == ReliabilityPolicy.RELIABLE
        and offered.reliability == ReliabilityPolicy.BEST_EFFORT
    ):
        clash.append('RELIABILITY')
    if (
        requested.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and offered.durability == DurabilityPolicy.VOLATILE
    ):
        clash.append('DURABILITY')
    return tuple(clash)
