# SPDX-License-Identifier: Apache-2.0
"""Names and qualities of service of a camera's topics, the same for publishers and subscribers."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

# Names of the node's default camera and of the simulated ones, relative to their namespace.
IMAGE_TOPIC = 'camera/image'
INFO_TOPIC = 'camera/camera_info'
OPTICAL_FRAME = 'camera_optical_frame'

RAW = 'raw'
COMPRESSED = 'compressed'
AUTO = 'auto'
TRANSPORTS = (RAW, COMPRESSED, AUTO)
TYPES = {RAW: 'sensor_msgs/msg/Image', COMPRESSED: 'sensor_msgs/msg/CompressedImage'}


@dataclass(frozen=True)
class CameraSetting:
    """One configured camera: its name, its topic before remapping, and its transport, one of
    TRANSPORTS.
    """

    name: str
    topic: str
    transport: str


def transport_topics(node: Node, topic: str) -> dict[str, str]:
    """Returns the topic of each transport, to be resolved by the node: `topic`, and `compressed`
    below it.

    Remapping the raw topic moves both; a remapping of the compressed one itself takes precedence.
    """
    compressed = f'{topic}/{COMPRESSED}'
    is_remapped = node.resolve_topic_name(compressed) != node.resolve_topic_name(
        compressed, only_expand=True
    )
    return {
        RAW: topic,
        COMPRESSED: compressed if is_remapped else f'{node.resolve_topic_name(topic)}/{COMPRESSED}',
    }


def newest_frame_qos() -> QoSProfile:
    """Returns the quality of service for sensor data, of depth 1.

    It matches every publisher, and the newest frame waits instead of a queue of old ones.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def camera_qos() -> QoSProfile:
    """Returns the quality of service of a camera.

    It matches subscribers that ask for RELIABLE, as viewers do, and those that do not.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
    )
