# SPDX-License-Identifier: Apache-2.0
"""A picture of a camera, when somebody wants one: its topic is heard for one frame, no longer."""

from __future__ import annotations

from typing import Any

from penguin_ros.errors import DeadlineExceeded
from penguin_ros.frame import to_nanoseconds
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.picture_buffer import jpeg_picture
from penguin_ros.ros.client.session import Session

QUALITY = 80


def newest_jpeg(session: Session, topic: str, longer_side: int, timeout_s: float) -> bytes:
    """Returns the next frame of a topic as JPEG of at most `longer_side` pixels; DeadlineExceeded
    when none comes.
    """
    from sensor_msgs.msg import CompressedImage, Image

    from penguin_ros.ros.conversions.topics import (
        COMPRESSED,
        RAW,
        newest_frame_qos,
        transport_topics,
    )

    node, came = session.node, list[Any]()

    def subscribe() -> Any:
        topics = transport_topics(node, topic.removesuffix('/compressed'))
        is_compressed = bool(node.count_publishers(topics[COMPRESSED]))
        kind, name = (
            (CompressedImage, topics[COMPRESSED]) if is_compressed else (Image, topics[RAW])
        )
        return node.create_subscription(kind, name, came.append, newest_frame_qos())

    subscription = session.do(subscribe)
    try:
        if not session.spin_until(lambda: bool(came), timeout_s):
            why = f'waited {timeout_s:g} s'
            raise DeadlineExceeded(f'no picture came on {topic}', why, 'Type: penguin doctor')
    finally:
        session.do(lambda: node.destroy_subscription(subscription))
    stamp_ns = to_nanoseconds(came[0].header.stamp)
    return jpeg_picture(stamp_ns, message_to_rgb(came[0]), longer_side, QUALITY).jpeg
