# SPDX-License-Identifier: Apache-2.0
"""Names and quality of service of a camera's topics, the same for who publishes and who subscribes.
Knows no pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

IMAGE_TOPIC, INFO_TOPIC, OPTICAL_FRAME = (
    'camera/image',
    'camera/camera_info',
    'camera_optical_frame',
)
"""Of the node's default camera and of the simulated ones, relative to their namespace; the README
has the table.
"""

RAW, COMPRESSED, AUTO = 'raw', 'compressed', 'auto'
TRANSPORTS = (RAW, COMPRESSED, AUTO)
TYPES = {RAW: 'sensor_msgs/msg/Image', COMPRESSED: 'sensor_msgs/msg/CompressedImage'}


def transport_topics(node: Node, topic: str) -> dict[str, str]:
    """The topic of each transport, as to be given to the node, which resolves it: `topic`, and
    `compressed` below it.

    Remapping the raw topic moves both; a remapping of the compressed one itself goes before.
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
    """Sensor data of depth 1: it matches every publisher, and what waits is the newest frame, not a
    queue of old ones.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def camera_qos() -> QoSProfile:
    """Of a camera: it matches subscribers that ask for RELIABLE, viewers do, and those that do not."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
    )


@dataclass(frozen=True)
class CameraSetting:
    """One camera: its configured name, its topic before remapping, and 'raw', 'compressed' or
    'auto'.
    """

    name: str
    topic: str
    transport: str
