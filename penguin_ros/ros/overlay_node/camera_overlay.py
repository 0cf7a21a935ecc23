# SPDX-License-Identifier: Apache-2.0
"""What is published over one camera's frames, and only while somebody subscribes to it.

The camera is subscribed to as the penguin node is, so that nobody encodes for us: while there are
subscribers to something that follows its frames, and not at all otherwise.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.media.compressed import compressed_size
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.overlay.annotations import image_annotations
from penguin_ros.overlay.arrangement import Arrangement, TextStyle, arranged
from penguin_ros.overlay.board import Board
from penguin_ros.overlay.lines import Overlay, overlay_of
from penguin_ros.overlay.painter import Painter
from penguin_ros.ros.camera_node.image_publisher import ImagePublisher
from penguin_ros.ros.conversions.topics import RAW, newest_frame_qos
from penguin_ros.ros.overlay_node.drawing import Drawing
from penguin_ros.ros.overlay_node.foreign_messages import (
    ForeignPackage,
    overlay_text_message,
)
from penguin_ros.ros.overlay_node.parameters import OverlayConfig
from penguin_ros.ros.process.callback_guard import CallbackGuard

MAX_WAITING = 64
"""Frames that wait for their annotations; the oldest go, and are counted."""
DEPTH = 10
ENCODING = 'bgr8'


@dataclass(frozen=True)
class Surroundings:
    """What all cameras of an overlay node share."""

    node: Node
    config: OverlayConfig
    guard: CallbackGuard
    drawing: Drawing
    foxglove: ForeignPackage
    rviz: ForeignPackage


class CameraOverlay:
    """`board` is written by whoever hears the penguin node. Everything runs on the executor's
    thread but `_work`, which runs on the drawing thread. `counts` are by what became of frames.
    """

    def __init__(self, surroundings: Surroundings, camera: str) -> None:
        self.board = Board()
        self.counts: Counter[str] = Counter()
        self.camera = camera
        self._shared = surroundings
        node, config = surroundings.node, surroundings.config
        self._images = ImagePublisher(
            node, f'~/{camera}/annotated', ENCODING, config.picture.quality
        )
        foxglove, rviz = surroundings.foxglove.module, surroundings.rviz.module
        self._annotations = foxglove and node.create_publisher(
            foxglove.ImageAnnotations, f'~/{camera}/annotations', DEPTH
        )
        self._text = rviz and node.create_publisher(
            rviz.OverlayText, f'~/{camera}/overlay_text', DEPTH
        )
        self._style = TextStyle(config.text.size, config.text.font)
        self._painter = Painter()
        self._known: tuple[Overlay, Arrangement] | None = None
        self._source = ('', '')
        self._subscription: Any = None
        self._lock = threading.Lock()  # guards what follows
        self._waiting: deque[tuple[Header, int, int]] = deque()
        self._picture: Any = None
        self._due_s = 0.0

    @property
    def is_subscribed(self) -> bool:
        """Whether the camera is subscribed to, since somebody looks."""
        return self._subscription is not None

    @property
    def topic(self) -> str:
        """The topic of the camera that is followed; empty before it is known."""
        return self._source[0]

    def follow(self, topic: str, transport: str) -> None:
        """Takes frames from a topic, of a transport that has a publisher."""
        if (topic, transport) != self._source:
            self._source = topic, transport
            self._unsubscribe()
            self.look()

    def look(self) -> None:
        """Subscribes to the camera, or no longer, as there are subscribers here."""
        is_wanted = self._images.has_subscribers or self._wants_annotations()
        if not is_wanted:
            self._unsubscribe()
        elif self._subscription is None and self._source[0]:
            topic, transport = self._source
            self._subscription = self._shared.node.create_subscription(
                Image if transport == RAW else CompressedImage,
                topic,
                self._shared.guard.wrap(self._on_frame),
                newest_frame_qos(),
            )

    def publish_text(self, now_ns: int) -> None:
        """Publishes what is said now as text for RViz, where somebody subscribes."""
        if self._text and self._text.get_subscription_count():
            overlay = self._overlay(now_ns)
            messages = self._shared.rviz.module
            self._text.publish(overlay_text_message(messages, overlay, self.camera))
            self.counts['texts'] += 1

    def close(self) -> None:
        """Ends the subscription."""
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._shared.node.destroy_subscription(self._subscription)
            self._subscription = None
        with self._lock:
            self._waiting.clear()
            self._picture = None

    def _wants_annotations(self) -> bool:
        return bool(self._annotations and self._annotations.get_subscription_count())

    def _on_frame(self, message: Any) -> None:
        size = _size(message) if self._wants_annotations() else None
        has_viewer = self._images.has_subscribers
        with self._lock:
            if size is not None:
                self._waiting.append((message.header, *size))
                if len(self._waiting) > MAX_WAITING:
                    self._waiting.popleft()
                    self.counts['annotations dropped: busy'] += 1
            if has_viewer and self._is_due():
                self.counts['pictures dropped: busy'] += self._picture is not None
                self._picture = message
        self._shared.drawing.ask(self._work)

    def _is_due(self) -> bool:
        rate, now_s = self._shared.config.picture.rate, time.monotonic()
        if rate and now_s < self._due_s:
            return False
        # From when it was due, so that a camera of nearly that rate loses no frame.
        self._due_s = max(self._due_s + 1 / rate, now_s) if rate else 0.0
        return True

    def _overlay(self, stamp_ns: int) -> Overlay:
        config = self._shared.config
        max_age_ns = round(config.text.max_age * NANOSECONDS)
        return overlay_of(self.board, stamp_ns, max_age_ns, config.rules.show, config.rules.count)

    # --- the drawing thread -----------------------------------------------------------------------

    def _work(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            picture, self._picture = self._picture, None
        for header, width, height in waiting:
            arrangement = self._arranged(to_nanoseconds(header.stamp), width, height)
            messages = self._shared.foxglove.module
            self._annotations.publish(image_annotations(messages, arrangement, header.stamp))
            self.counts['annotations'] += 1
        if picture is not None:
            self._publish_picture(picture)

    def _publish_picture(self, message: Any) -> None:
        try:
            image = message_to_rgb(message)
        except PenguinError:  # the node's own status says what is wrong with this camera
            self.counts['pictures dropped: unreadable'] += 1
            return
        height, width = image.shape[:2]
        arrangement = self._arranged(to_nanoseconds(message.header.stamp), width, height)
        drawn = cv2.cvtColor(self._painter.painted(image, arrangement), cv2.COLOR_RGB2BGR)
        drawn_bgr = np.asarray(drawn, dtype=np.uint8)
        for publisher, made in self._images.messages(message.header, drawn_bgr):
            publisher.publish(made)
        self.counts['pictures'] += 1

    def _arranged(self, stamp_ns: int, width: int, height: int) -> Arrangement:
        overlay = self._overlay(stamp_ns)
        known = self._known
        if known is None or known[0] != overlay or known[1].size != (width, height):
            known = overlay, arranged(overlay, width, height, self._style)
            self._known = known
        return known[1]


def _size(message: Any) -> tuple[int, int] | None:
    """Returns the width and height of a picture as it is shown, None where it cannot be read."""
    if hasattr(message, 'encoding'):
        return message.width, message.height
    try:
        return compressed_size(message.data)
    except PenguinError:
        return None
