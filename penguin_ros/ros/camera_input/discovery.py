# SPDX-License-Identifier: Apache-2.0
"""Looks who publishes a camera's topics, and chooses which of its two topics to subscribe to."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.camera_input.health import Publisher
from penguin_ros.ros.conversions.topics import AUTO, COMPRESSED, RAW, TYPES

PATIENCE_NS = 3 * NANOSECONDS
LONGEST_PATIENCE_NS = 60 * NANOSECONDS


class TransportChoice:
    """The transport that a camera is subscribed to: the configured one, or what `auto` chooses.

    `auto` takes the topic that has a matching publisher, raw first, and stays while frames come. It
    changes to the other one when the publisher disappears, or when no frame could be used for
    PATIENCE_NS although the other has a publisher too (raw images that the transport loses, say);
    each such try doubles the patience until a frame comes.
    """

    def __init__(self, transport: str, now_ns: int) -> None:
        self._is_auto = transport == AUTO
        self.current = RAW if self._is_auto else transport
        self._since_ns = now_ns
        self._patience_ns = PATIENCE_NS

    def choose(self, published: Set[str], last_frame_ns: int | None, now_ns: int) -> str:
        """Returns the transport to use now, given those that have a matching publisher."""
        other = COMPRESSED if self.current == RAW else RAW
        if last_frame_ns is not None and last_frame_ns >= self._since_ns:
            self._patience_ns = PATIENCE_NS
        if not self._is_auto or other not in published:
            return self.current
        heard_ns = max(self._since_ns, last_frame_ns or self._since_ns)
        if self.current not in published:
            self._change(other, now_ns)
        elif now_ns - heard_ns > self._patience_ns:
            self._patience_ns = min(2 * self._patience_ns, LONGEST_PATIENCE_NS)
            self._change(other, now_ns)
        return self.current

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
