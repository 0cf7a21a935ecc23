# SPDX-License-Identifier: Apache-2.0
"""The overlay node over topics: a picture, annotations and a text, each only for those who look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from support.built_messages import (
    environment_without,
    import_messages,
    messages_environment,
)
from support.graph import Graph, NodeProcess, stamp_ns
from support.penguin_topics import BEGIN, GRAY, HEIGHT, PERIOD, WIDTH, PenguinTopics

from penguin_ros.overlay.painter import BORDER

MODULE = 'penguin_ros.ros.overlay_node.main'
PACKAGES = ('foxglove_msgs', 'rviz_2d_overlay_msgs')


class WatchedPenguin(PenguinTopics):
    """A penguin node's topics and an overlay node that listens to them."""

    def __init__(self, graph: Graph, environment: dict[str, str]) -> None:
        super().__init__(graph)
        self.process: NodeProcess = graph.start(
            MODULE, arguments=('-r', '__ns:=/r1'), environment=environment
        )
        self.wait_for_listener()
        graph.wait_for(lambda: 'front: topic' in self.values(), 30.0, 'the cameras')

    def shown(self, messages: list[Any], condition: Any, what: str) -> Any:
        """Publishes frames until one of the messages is as wanted; returns that."""
        with self.running():
            return self.graph.wait_for(
                lambda: next((each for each in messages if condition(each)), None), 30.0, what
            )

    def one_by_one(self, notes: list[Any], count: int) -> list[int]:
        """Publishes frames, each when the one before has its note; returns their stamps."""
        self.graph.holds_for(lambda: True, 1.0)  # until those that are under way have theirs
        notes.clear()
        stamps: list[int] = []
        for _ in range(count):
            stamps.append(self.frame())
            self.graph.wait_for(lambda: len(notes) >= len(stamps), 30.0, 'a note')
        return stamps


@pytest.fixture(scope='module')
def shared_penguin(graph: Graph) -> Iterator[WatchedPenguin]:
    penguin = WatchedPenguin(graph, messages_environment(*PACKAGES))
    yield penguin
    penguin.process.stop()


@pytest.fixture
def penguin(shared_penguin: WatchedPenguin) -> WatchedPenguin:
    shared_penguin.alarm()
    return shared_penguin


def rgb(message: Any) -> Any:
    """The pixels of either kind of image."""
    if hasattr(message, 'encoding'):
        assert message.encoding == 'bgr8'
        pixels = np.frombuffer(bytes(message.data), np.uint8)
        return pixels.reshape(message.height, message.width, 3)[:, :, ::-1]
    return cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def darkness(message: Any) -> float:
    """How dark the lowest row of a picture is, which a caption covers: the lower, the darker."""
    return float(np.median(rgb(message)[-2]))


def is_framed(message: Any) -> bool:
    middle = rgb(message)[HEIGHT // 2, 0].astype(int)
    return bool(np.abs(middle - BORDER).max() < 40)


def test_nobody_who_looks_costs_nothing_and_the_camera_is_left_alone(
    penguin: WatchedPenguin,
) -> None:
    graph, node = penguin.graph, penguin.graph.node
    pictures: list[Any] = []
    with penguin.running():
        graph.wait_for(lambda: not penguin.front.get_subscription_count(), 30.0, 'peace')
        assert graph.holds_for(lambda: not penguin.front.get_subscription_count(), 1.5)
        topic = '/r1/overlay/front/annotated'
        viewer = node.create_subscription(Image, topic, pictures.append, 10)
        graph.wait_for(lambda: pictures, 30.0, 'pictures')
        assert penguin.rear.get_subscription_count() == 0  # at that camera nobody looks
        node.destroy_subscription(viewer)
        graph.wait_for(lambda: not penguin.front.get_subscription_count(), 30.0, 'peace')
        graph.wait_for(
            lambda: (
                'front: pictures' in penguin.values()
                and penguin.values()['front: topic'] == 'nobody looks'
            ),
            30.0,
        )
        # One picture may be on its way while the count is told.
        assert any(draws_nothing(penguin) for _ in range(3))


def draws_nothing(penguin: WatchedPenguin) -> bool:
    """Whether the count of pictures stays the same for a while."""
    drawn = penguin.values()['front: pictures']
    return bool(penguin.graph.holds_for(lambda: penguin.values()['front: pictures'] == drawn, 1.5))


def test_a_picture_has_the_header_of_its_frame_the_caption_and_the_alarm_drawn_on_it(
    penguin: WatchedPenguin,
) -> None:
    raw = penguin.graph.collect(Image, '/r1/overlay/front/annotated')
    jpegs = penguin.graph.collect(CompressedImage, '/r1/overlay/rear/annotated/compressed')
    penguin.say('A dog walks by.', 'front')
    penguin.say('A cat.', 'rear')
    penguin.alarm('intruder')
    for messages in (raw, jpegs):
        picture = penguin.shown(messages, lambda each: darkness(each) < 120, 'a caption')
        assert picture.header.frame_id == 'front_optical'
        assert (stamp_ns(picture.header.stamp) - BEGIN) % PERIOD == 0
        assert abs(int(rgb(picture)[HEIGHT // 2, WIDTH // 2, 0]) - GRAY) < 3
    penguin.shown(raw, is_framed, 'the border of an alarm')
    assert not any(is_framed(each) for each in jpegs)  # it is the other camera's
    penguin.alarm()
    seen = len(raw)
    penguin.shown(raw, lambda each: each in raw[seen:] and not is_framed(each), 'no border')


def test_each_frame_has_one_annotation_of_its_stamp(penguin: WatchedPenguin) -> None:
    kind = import_messages('foxglove_msgs').ImageAnnotations
    for camera, publisher in (('front', penguin.front), ('rear', penguin.rear)):
        notes = penguin.graph.collect(kind, f'/r1/overlay/{camera}/annotations')
        penguin.graph.wait_for(publisher.get_subscription_count, 30.0, 'the overlay node looks')
        penguin.say('A dog <b>walks</b> by.', camera)
        penguin.alarm('intruder', camera=camera)
        penguin.shown(notes, lambda each: len(each.texts) == 2, 'caption and rule')
        stamps = penguin.one_by_one(notes, 20)
        assert [stamp_ns(note.texts[0].timestamp) for note in notes] == stamps
        rule, text = notes[-1].texts
        assert rule.text.startswith('intruder')
        assert 'A dog <b>walks</b> by.' in text.text
        assert 0 < text.position.y <= HEIGHT
        assert len(notes[-1].points[0].points) == 4


def test_the_text_for_rviz_is_escaped_since_it_is_read_as_html(penguin: WatchedPenguin) -> None:
    kind = import_messages('rviz_2d_overlay_msgs').OverlayText
    texts = penguin.graph.collect(kind, '/r1/overlay/front/overlay_text')
    penguin.say('<img src=x> & more', age_s=-(10**9))
    found = penguin.graph.wait_for(
        lambda: next((each for each in texts if each.text), None), 30.0, 'a text'
    )
    assert found.action == kind.ADD
    assert '&lt;img src=x&gt; &amp; more' in found.text
    assert '<img' not in found.text


def test_the_alarm_of_a_node_that_is_gone_is_taken_off(penguin: WatchedPenguin) -> None:
    pictures = penguin.graph.collect(Image, '/r1/overlay/front/annotated')
    penguin.alarm('intruder')
    penguin.shown(pictures, is_framed, 'the border of an alarm')
    penguin.leave()
    pictures.clear()
    penguin.shown(pictures, lambda each: not is_framed(each), 'no border')


@pytest.mark.slow
def test_without_the_foreign_packages_pictures_are_drawn_and_it_is_said_what_is_missing(
    fresh_graph: Graph,
) -> None:
    penguin = WatchedPenguin(fresh_graph, environment_without(*PACKAGES))
    if penguin.values()['foxglove_msgs'] == 'used':
        pytest.skip('this ROS 2 has foxglove_msgs')
    assert 'apt install ros-$ROS_DISTRO-foxglove-msgs' in penguin.values()['foxglove_msgs']
    pictures = penguin.graph.collect(Image, '/r1/overlay/front/annotated')
    penguin.say('A dog walks by.')
    penguin.shown(pictures, lambda each: darkness(each) < 120, 'a caption')
