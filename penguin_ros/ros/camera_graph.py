# SPDX-License-Identifier: Apache-2.0
"""Who publishes a camera's topics, as the ROS graph tells. Knows no pictures."""
from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from penguin_ros.ros.camera_health import Publisher
from penguin_ros.ros.camera_topics import TYPES


def publishers(node: Node, topic: str, requested: QoSProfile) -> list[Publisher]:
    """The publishers on a resolved topic, each with the policies that do not match a subscription of QoS `requested`."""
    return [Publisher(_full_name(endpoint), topic, endpoint.topic_type, _clash(endpoint.qos_profile, requested))
            for endpoint in node.get_publishers_info_by_topic(topic)]


def image_topics(node: Node) -> list[str]:
    """Topics of the graph that carry pictures and have a publisher."""
    return sorted(topic for topic, types in node.get_topic_names_and_types()
                  if set(types) & set(TYPES.values()) and node.count_publishers(topic))


def _full_name(endpoint: Any) -> str:
    # A publisher may be discovered a moment before its node is.
    is_named = not endpoint.node_name.startswith('_NODE_NAME_UNKNOWN')
    return f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}' if is_named else 'a node without a name'


def _clash(offered: QoSProfile, requested: QoSProfile) -> tuple[str, ...]:
    """Policies of which a publisher offers less than is asked for. Only those that a camera's subscription can be given."""
    clash = []
    if requested.reliability == ReliabilityPolicy.RELIABLE and offered.reliability == ReliabilityPolicy.BEST_EFFORT:
        clash.append('RELIABILITY')
    if requested.durability == DurabilityPolicy.TRANSIENT_LOCAL and offered.durability == DurabilityPolicy.VOLATILE:
        clash.append('DURABILITY')
    return tuple(clash)
