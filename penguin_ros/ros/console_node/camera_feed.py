# SPDX-License-Identifier: Apache-2.0
"""Pictures of one camera for those who look: subscribed to only while somebody does.

A compressed topic that has a publisher is passed through untouched, as long as it is JPEG. Of raw
pictures the newest is encoded for each width that is looked at; one that comes meanwhile takes the
place of the one that waits. The last frames are kept, so that those behind an answer can be shown.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from penguin_ros.errors import PenguinError
from penguin_ros.frame import to_nanoseconds
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.ros.conversions.topics import COMPRESSED, RAW, newest_frame_qos, transport_topics

MAX_BYTES = 64 << 20
JPEG_QUALITY = 80
JPEG_HEAD = b'\xff\xd8\xff'

OnJpeg = Callable[[int, bytes], None]
"""Gets the stamp in nanoseconds and the JPEG, on the encoder's thread or the executor's."""


class CameraFeed:
    """`viewers` are added and removed on any thread; frames arrive on the executor's."""

    def __init__(self, node: Node, topic: str, pool: ThreadPoolExecutor) -> None:
        self._node = node
        self._topic = topic
        self._pool = pool
        self._lock = threading.Lock()  # guards what follows
        self._viewers: dict[OnJpeg, int] = {}
        self._frames: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0
        self._waiting: Any = None
        self._is_encoding = False
        self._subscription: Any = None

    def add(self, viewer: OnJpeg, width: int) -> None:
        """Has a viewer called with every new picture, at most `width` pixels wide."""
        with self._lock:
            self._viewers[viewer] = width
            if self._subscription is None:
                self._subscription = self._subscribe()

    def remove(self, viewer: OnJpeg) -> None:
        """Ends that; with the last viewer the subscription ends and the frames are forgotten."""
        with self._lock:
            self._viewers.pop(viewer, None)
            if not self._viewers:
                self._close()

    def close(self) -> None:
        """Ends the subscription, whoever looks."""
        with self._lock:
            self._viewers.clear()
            self._close()

    def frame(self, stamp_ns: int, width: int) -> bytes | None:
        """Returns the JPEG of a frame by its stamp, None when it is not kept; takes a while."""
        with self._lock:
            message = self._frames.get(stamp_ns)
        return None if message is None else jpeg_of(message, width)

    def _close(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        self._frames.clear()
        self._bytes = 0

    def _subscribe(self) -> Any:
        topics = transport_topics(self._node, self._topic)
        is_compressed = bool(self._node.count_publishers(topics[COMPRESSED]))
        kind, topic = (
            (CompressedImage, topics[COMPRESSED]) if is_compressed else (Image, topics[RAW])
        )
        return self._node.create_subscription(kind, topic, self._on_message, newest_frame_qos())

    def _on_message(self, message: Any) -> None:
        with self._lock:
            self._keep(message)
            self._waiting = message
            if self._is_encoding or not self._viewers:
                return
            self._is_encoding = True
        self._pool.submit(self._encode)

    def _keep(self, message: Any) -> None:
        stamp_ns = to_nanoseconds(message.header.stamp)
        old = self._frames.pop(stamp_ns, None)
        self._bytes -= 0 if old is None else len(old.data)
        self._frames[stamp_ns] = message
        self._bytes += len(message.data)
        while self._bytes > MAX_BYTES and len(self._frames) > 1:
            self._bytes -= len(self._frames.popitem(last=False)[1].data)

    def _encode(self) -> None:
        while True:
            with self._lock:
                message, self._waiting = self._waiting, None
                viewers = dict(self._viewers)
                if message is None or not viewers:
                    self._is_encoding = False
                    return
            stamp_ns = to_nanoseconds(message.header.stamp)
            for width in set(viewers.values()):
                try:
                    jpeg = jpeg_of(message, width)
                except (PenguinError, cv2.error):
                    continue  # the node's own status says what is wrong with this camera
                for viewer, wanted in viewers.items():
                    if wanted == width:
                        viewer(stamp_ns, jpeg)


def jpeg_of(message: Any, width: int) -> bytes:
    """Returns a picture as JPEG of at most `width` pixels; a JPEG is returned as it is."""
    if isinstance(message, CompressedImage) and bytes(message.data[:3]) == JPEG_HEAD:
        return bytes(message.data)
    image = message_to_rgb(message)
    height, own_width = image.shape[:2]
    if own_width > width:
        size = (width, max(1, round(height * width / own_width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return bytes(cv2.imencode('.jpg', image[:, :, ::-1], quality)[1])
