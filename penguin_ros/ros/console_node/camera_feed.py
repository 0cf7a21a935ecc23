# SPDX-License-Identifier: Apache-2.0
"""Pictures of one camera for those who look: subscribed to only while somebody does.

A compressed topic that has a publisher is passed through untouched, as long as it is JPEG. Of raw
pictures the newest is encoded for each width that is looked at; one that comes meanwhile takes the
place of the one that waits. The last frames are kept, so that those behind an answer can be shown.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from penguin_ros.errors import PenguinError
from penguin_ros.frame import to_nanoseconds
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.ros.conversions.topics import COMPRESSED, RAW, newest_frame_qos, transport_topics

MAX_BYTES = 64 << 20
KEPT_S = 120.0
"""So long the last frames are kept when nobody looks any more: a page that comes back, or an answer
that is read later, still has its pictures.
"""
JPEG_QUALITY = 80
JPEG_HEAD = b'\xff\xd8\xff'
WIDTHS = (160, 320, 480, 640, 960, 1280, 1920, 3840)
"""Pictures are made this wide, so that browsers of about one size share them."""
EARLY = 0.25
"""A picture that comes this part of its period too early is taken nevertheless."""

OnJpeg = Callable[[int, bytes], None]
"""Gets the stamp in nanoseconds and the JPEG, on the encoder's thread or the executor's."""


@dataclass
class Viewer:
    """Who gets pictures: how wide, and not before `next_s` of the steady clock; `period_s` None:
    none at all, frames are only kept.
    """

    width: int
    period_s: float | None
    next_s: float = 0.0

    def is_due(self, now_s: float) -> bool:
        """Tells whether the next picture is due, and takes it for sent."""
        if self.period_s is None or now_s < self.next_s - EARLY * self.period_s:
            return False
        self.next_s = max(self.next_s, now_s - EARLY * self.period_s) + self.period_s
        return True


class CameraFeed:
    """`viewers` are added and removed on any thread; frames arrive on the executor's."""

    def __init__(self, node: Node, topic: str, pool: ThreadPoolExecutor) -> None:
        self._node = node
        self._topic = topic
        self._pool = pool
        self._lock = threading.Lock()  # guards what follows
        self._viewers: dict[OnJpeg, Viewer] = {}
        self._frames: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0
        self._waiting: Any = None
        self._is_encoding = False
        self._subscription: Any = None
        self._is_compressed = False
        self._unseen_since_s: float | None = None

    def add(self, viewer: OnJpeg, width: int, rate: float) -> None:
        """Has a viewer called with new pictures, at most `width` pixels wide and `rate` per
        second.
        """
        with self._lock:
            self._viewers[viewer] = Viewer(width, 1.0 / rate if rate > 0 else None)
            self._unseen_since_s = None
            if self._subscription is not None and self._chosen() != self._is_compressed:
                self._unsubscribe()
            if self._subscription is None:
                self._subscribe()

    def remove(self, viewer: OnJpeg) -> None:
        """Ends that; with the last viewer the subscription ends."""
        with self._lock:
            self._viewers.pop(viewer, None)
            if not self._viewers:
                self._unsubscribe()
                self._unseen_since_s = time.monotonic()

    def close(self) -> None:
        """Ends the subscription, whoever looks, and forgets the frames."""
        with self._lock:
            self._viewers.clear()
            self._unsubscribe()
            self._forget()

    def forget_unseen(self) -> None:
        """Forgets the frames where nobody has looked for a while."""
        with self._lock:
            since_s = self._unseen_since_s
            if since_s is not None and time.monotonic() - since_s > KEPT_S:
                self._forget()

    def follow(self, topic: str) -> None:
        """Takes pictures from a topic: that of the camera may change. Who looks goes on looking."""
        with self._lock:
            if topic == self._topic:
                return
            self._topic = topic
            if self._subscription is not None:
                self._unsubscribe()
                self._subscribe()

    def frame(self, stamp_ns: int, width: int) -> bytes | None:
        """Returns the JPEG of a frame by its stamp, None when it is not kept; takes a while."""
        with self._lock:
            message = self._frames.get(stamp_ns)
        return None if message is None else jpeg_of(message, width)

    def _forget(self) -> None:
        self._frames.clear()
        self._bytes = 0
        self._unseen_since_s = None

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _chosen(self) -> bool:
        """Whether the compressed topic is taken: it has a publisher."""
        topics = transport_topics(self._node, self._topic)
        return bool(self._node.count_publishers(topics[COMPRESSED]))

    def _subscribe(self) -> None:
        topics = transport_topics(self._node, self._topic)
        self._is_compressed = self._chosen()
        kind, topic = (
            (CompressedImage, topics[COMPRESSED]) if self._is_compressed else (Image, topics[RAW])
        )
        self._subscription = self._node.create_subscription(
            kind, topic, self._on_message, newest_frame_qos()
        )

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
                if message is None or not self._viewers:
                    self._is_encoding = False
                    return
                now_s = time.monotonic()
                due = [
                    (show, one.width) for show, one in self._viewers.items() if one.is_due(now_s)
                ]
            stamp_ns = to_nanoseconds(message.header.stamp)
            made: dict[int, bytes] = {}
            for show, wanted in due:
                width = next((each for each in WIDTHS if each >= wanted), WIDTHS[-1])
                try:
                    if width not in made:
                        made[width] = jpeg_of(message, width)
                except (PenguinError, cv2.error):
                    break  # the node's own status says what is wrong with this camera
                show(stamp_ns, made[width])


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
