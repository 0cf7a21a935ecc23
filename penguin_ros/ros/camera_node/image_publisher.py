# SPDX-License-Identifier: Apache-2.0
"""Publishes images as a camera does: raw, and compressed on the topic below it.

Images are (height, width, 3) uint8 in BGR order.
"""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from penguin_ros.errors import PenguinError
from penguin_ros.media.video import BgrImage
from penguin_ros.ros.conversions.qos_overrides import overriding_options
from penguin_ros.ros.conversions.topics import COMPRESSED, RAW, camera_qos, transport_topics

# From OpenCV's BGR to each encoding that is published.
_CONVERSIONS = {
    'rgb8': cv2.COLOR_BGR2RGB,
    'bgr8': None,
    'mono8': cv2.COLOR_BGR2GRAY,
    'rgba8': cv2.COLOR_BGR2RGBA,
    'bgra8': cv2.COLOR_BGR2BGRA,
}
ENCODINGS = tuple(_CONVERSIONS)


@dataclass(frozen=True)
class ImageStats:
    """How many images a camera has published, and how many it skipped because this process was too
    slow.
    """

    sent: int = 0
    skipped: int = 0


class ImagePublisher:
    """The two image topics of a camera. Nothing is encoded that nobody has subscribed to."""

    def __init__(self, node: Node, topic: str, encoding: str, jpeg_quality: int) -> None:
        topics = transport_topics(node, topic)
        self._raw = camera_publisher(node, Image, topics[RAW])
        self._compressed = camera_publisher(node, CompressedImage, topics[COMPRESSED])
        self._encoding = encoding
        self._jpeg_quality = jpeg_quality

    @property
    def topic_name(self) -> str:
        """The resolved topic of the raw images."""
        return str(self._raw.topic_name)

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody has subscribed to either topic."""
        return bool(self._raw.get_subscription_count() or self._compressed.get_subscription_count())

    def messages(self, header: Header, image: BgrImage) -> list[tuple[Publisher, Any]]:
        """Encodes the image for each topic that has subscribers; the caller publishes."""
        messages: list[tuple[Publisher, Any]] = []
        if self._raw.get_subscription_count():
            messages.append((self._raw, raw_message(header, image, self._encoding)))
        if self._compressed.get_subscription_count():
            message = jpeg_message(header, image, self._encoding, self._jpeg_quality)
            messages.append((self._compressed, message))
        return messages


def camera_publisher(node: Node, kind: type, topic: str) -> Publisher:
    """Creates a publisher with a camera's quality of service, which parameters may override."""
    return node.create_publisher(
        kind,
        topic,
        camera_qos(),
        qos_overriding_options=overriding_options(),
    )


def raw_message(header: Header, image: BgrImage, encoding: str) -> Image:
    """Returns a BGR image as sensor_msgs/Image in one of ENCODINGS."""
    conversion = _CONVERSIONS[encoding]
    pixels = image if conversion is None else cv2.cvtColor(image, conversion)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=width * channels,
        data=_message_bytes(pixels),
    )


def jpeg_message(header: Header, image: BgrImage, encoding: str, quality: int) -> CompressedImage:
    """Returns a BGR image as sensor_msgs/CompressedImage, its format written as image_transport
    does.
    """
    source = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if encoding == 'mono8' else image
    is_encoded, content = cv2.imencode('.jpg', source, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise PenguinError('an image could not be compressed', 'OpenCV gave no JPEG')
    stored = 'mono8' if encoding == 'mono8' else 'bgr8'
    return CompressedImage(
        header=header, format=f'{encoding}; jpeg compressed {stored}', data=_message_bytes(content)
    )


def _message_bytes(pixels: NDArray[Any]) -> array.array[int]:
    """Returns an array.array: rclpy checks the elements of anything else one by one."""
    content = array.array('B')
    content.frombytes(np.ascontiguousarray(pixels).data.cast('B'))
    return content
