# SPDX-License-Identifier: Apache-2.0
"""Pictures of one camera: subscribed to and encoded for those who look, and for nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from support.graph import image_message

from penguin_ros.ros.console_node import camera_feed
from penguin_ros.ros.console_node.camera_feed import CameraFeed, Viewer

STAMP_NS = 5 * 10**9


class Shown:
    """A viewer, and the pictures that it was shown."""

    def __init__(self) -> None:
        self.pictures: list[tuple[int, bytes]] = []

    def __call__(self, stamp_ns: int, jpeg: bytes) -> None:
        self.pictures.append((stamp_ns, jpeg))


@pytest.fixture
def feed(fresh_graph: Any) -> CameraFeed:
    return CameraFeed(fresh_graph.node, '/front', ThreadPoolExecutor(1))


def published(graph: Any, kind: type, topic: str, message: Any, until: Callable[[], Any]) -> None:
    """Publishes a message again and again, as a camera does, until something holds."""
    publisher = graph.node.create_publisher(kind, topic, 10)
    graph.wait_for(lambda: publisher.get_subscription_count() > 0)

    def holds() -> bool:
        publisher.publish(message)
        return bool(until())

    graph.wait_for(holds)


def test_a_topic_is_subscribed_to_only_while_somebody_looks(
    fresh_graph: Any, feed: CameraFeed
) -> None:
    publisher = fresh_graph.node.create_publisher(Image, '/front', 10)
    first, second = Shown(), Shown()
    feed.add(first, 640, 10.0)
    feed.add(second, 640, 0.0)
    fresh_graph.wait_for(lambda: publisher.get_subscription_count() == 1)
    feed.remove(first)
    assert not fresh_graph.holds_for(lambda: publisher.get_subscription_count() == 0, 0.2)
    feed.remove(second)
    fresh_graph.wait_for(lambda: publisher.get_subscription_count() == 0)


def test_raw_pictures_are_encoded_once_for_all_and_kept_for_answers(
    fresh_graph: Any, feed: CameraFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, keeper = Shown(), Shown(), Shown()
    feed.add(one, 700, 30.0)
    feed.add(other, 800, 30.0)
    feed.add(keeper, 640, 0.0)
    message = image_message(3, STAMP_NS, 64, 48)
    published(fresh_graph, Image, '/front', message, lambda: other.pictures and one.pictures)
    stamp_ns, jpeg = one.pictures[0]
    assert stamp_ns == STAMP_NS and jpeg is other.pictures[0][1] and not keeper.pictures
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)
    for viewer in (one, other, keeper):
        feed.remove(viewer)
    feed.forget_unseen()
    small = feed.frame(STAMP_NS, 32)
    assert small is not None and feed.frame(STAMP_NS + 1, 32) is None
    assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape == (24, 32, 3)
    monkeypatch.setattr(camera_feed, 'KEPT_S', -1.0)
    feed.forget_unseen()
    assert feed.frame(STAMP_NS, 32) is None


def test_a_jpeg_is_passed_through_untouched(fresh_graph: Any, feed: CameraFeed) -> None:
    jpeg = b'\xff\xd8\xff and whatever follows'
    message = CompressedImage(format='jpeg', data=jpeg)
    message.header.stamp.sec = 5
    publisher = fresh_graph.node.create_publisher(CompressedImage, '/front/compressed', 10)
    fresh_graph.wait_for(lambda: fresh_graph.node.count_publishers('/front/compressed') > 0)
    shown = Shown()
    feed.add(shown, 160, 30.0)
    published(fresh_graph, CompressedImage, '/front/compressed', message, lambda: shown.pictures)
    assert shown.pictures[0] == (STAMP_NS, jpeg) and publisher.topic_name == '/front/compressed'


def test_a_picture_that_cannot_be_decoded_shows_nothing_and_stops_nothing(
    fresh_graph: Any, feed: CameraFeed
) -> None:
    shown = Shown()
    feed.add(shown, 640, 30.0)
    bad = image_message(1, STAMP_NS)
    bad.encoding = 'no such thing'
    good = image_message(1, STAMP_NS + 1)
    taken = threading.Event()
    publisher = fresh_graph.node.create_publisher(Image, '/front', 10)
    fresh_graph.wait_for(lambda: publisher.get_subscription_count() > 0)

    def both() -> bool:
        for message in (bad, good):
            publisher.publish(message)
            fresh_graph.executor.spin_once(timeout_sec=0.05)
        if shown.pictures:
            taken.set()
        return taken.is_set()

    fresh_graph.wait_for(both)
    assert {stamp_ns for stamp_ns, _ in shown.pictures} == {STAMP_NS + 1}


def test_a_viewer_gets_its_rate_though_pictures_come_a_little_early() -> None:
    viewer = Viewer(640, 0.1)
    times = [10.0, 10.04, 10.09, 10.2, 10.29, 10.31, 10.4]
    assert [viewer.is_due(now) for now in times] == [True, False, True, True, True, False, True]
    assert not Viewer(640, None).is_due(10.0)
