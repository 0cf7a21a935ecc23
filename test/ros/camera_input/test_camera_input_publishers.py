# SPDX-License-Identifier: Apache-2.0
"""A camera input follows its publishers: latched stills, a compressed topic given as it is, samples
that are no colours, and overrides of the quality of service.
"""

from __future__ import annotations

import array
import time

import cv2
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from support.graph import image_message

from penguin_ros.ros.camera_input.health import CameraState

LATCHED = QoSProfile(
    depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
)
DURABILITY = 'qos_overrides./image.subscription.durability'


@pytest.fixture
def graph(fresh_graph):
    """A graph for each test alone."""
    return fresh_graph


def jpeg(stamp_ns=None, label='jpeg'):
    content = cv2.imencode('.png', np.full((48, 64), 90, np.uint8))[1].tobytes()
    message = CompressedImage(format=label, data=array.array('B', content))
    message.header = image_message(0, stamp_ns or time.time_ns()).header
    return message


@pytest.mark.parametrize('transport', ['raw', 'auto'])
def test_a_still_that_was_latched_before_arrives(graph, receiver, transport):
    publisher = graph.node.create_publisher(Image, 'image', LATCHED)
    publisher.publish(image_message(1, time.time_ns()))
    front = receiver(transport)
    front.wait_for(lambda: front.frames)
    front.wait_for(lambda: front.camera.health().cause == 'still')


def test_a_compressed_still_that_was_latched_arrives_too(graph, receiver):
    publisher = graph.node.create_publisher(CompressedImage, 'image/compressed', LATCHED)
    publisher.publish(jpeg())
    front = receiver('auto')
    front.wait_for(lambda: front.frames)


def test_a_camera_that_latches_without_being_reliable_is_heard(graph, receiver):
    qos = QoSProfile(
        depth=1,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        reliability=ReliabilityPolicy.BEST_EFFORT,
    )
    publisher = graph.node.create_publisher(Image, 'image', qos)
    front = receiver('raw')

    def again():
        publisher.publish(image_message(1, time.time_ns()))
        return len(front.frames) > 3 and front.camera.health().publishers

    front.wait_for(again)
    front.wait_for(lambda: again() and front.camera.health().state is CameraState.OK)


def test_a_live_camera_beside_a_latched_still_is_heard_too(graph, receiver):
    latched = graph.node.create_publisher(Image, 'image', LATCHED)
    latched.publish(image_message(1, time.time_ns()))
    front = receiver('raw')
    front.wait_for(lambda: front.frames)
    live = graph.node.create_publisher(Image, 'image', 10)
    seen = len(front.frames)

    def again():
        live.publish(image_message(2, time.time_ns()))
        return len(front.frames) > seen + 3

    front.wait_for(again)


def test_an_override_of_durability_holds(graph, receiver):
    publisher = graph.node.create_publisher(Image, 'image', 10)
    front = receiver('raw', arguments=('-p', f'{DURABILITY}:=transient_local'))
    front.wait_for(lambda: publisher.get_subscription_count() or front.camera.health().cause)
    assert 'DURABILITY' in front.health_with('qos').reason


@pytest.mark.parametrize('transport', ['auto', 'compressed'])
def test_the_compressed_topic_may_be_given_as_it_is(graph, receiver, transport):
    publisher = graph.node.create_publisher(CompressedImage, 'front/image_raw/compressed', 10)
    front = receiver(transport, topic='front/image_raw/compressed')

    def again():
        publisher.publish(jpeg())
        return len(front.frames) > 2

    front.wait_for(again)
    assert front.camera.health().topic == '/front/image_raw/compressed'
    assert front.camera.health().state is CameraState.OK


def test_auto_does_not_hide_samples_that_are_no_colours_behind_the_compressed_topic(
    graph, receiver
):
    """Eight seconds are longer than `auto` waits for anything; all encodings share them."""
    cameras = {}
    for encoding in ('8UC3', '16UC1', '32FC1'):
        topic = f'of_{encoding}/image'
        cameras[encoding] = (
            graph.node.create_publisher(Image, topic, 10),
            graph.node.create_publisher(CompressedImage, f'{topic}/compressed', 10),
            receiver('auto', topic=topic, settings={'clip.fps': 20.0}),
        )
    end = time.monotonic() + 8

    def again():
        for encoding, (raw, compressed, front) in cameras.items():
            message = image_message(0, time.time_ns())
            message.encoding = encoding
            raw.publish(message)
            compressed.publish(jpeg(label='png'))
            for _ in range(4):
                front.executor.spin_once(timeout_sec=0.0)
        return time.monotonic() > end

    graph.wait_for(again)
    for encoding, (_, _, front) in cameras.items():
        health = front.camera.health()
        assert not front.frames and health.state is CameraState.REJECTED
        assert repr(encoding) in health.reason and health.topic == f'/of_{encoding}/image'


def test_images_that_stay_the_same_are_noted_and_those_that_change_are_not(graph, receiver):
    publisher = graph.node.create_publisher(Image, 'image', 10)
    front = receiver('raw')

    def frozen(number):
        def again():
            publisher.publish(image_message(number(), time.time_ns()))
            return front.camera._pixels.facts().frozen_ns > 1e9

        return again

    front.wait_for(frozen(lambda: 3))
    counter = iter(range(100))
    front.wait_for(lambda: not frozen(lambda: next(counter))())


def test_16_bit_images_that_use_a_small_part_of_their_range_are_warned_of(graph, receiver):
    publisher = graph.node.create_publisher(Image, 'image', 10)
    front = receiver('raw')

    def again():
        message = image_message(0, time.time_ns())
        samples = np.random.default_rng(0).integers(0, 4096, (48, 64), np.uint16)
        message.encoding, message.step = 'mono16', 128
        message.height, message.width = 48, 64
        message.data = array.array('B', samples.astype('<u2').tobytes())
        publisher.publish(message)
        return 'dark' in front.camera.health().warnings

    front.wait_for(again)
    assert 'buffer.white_level' in front.camera.health().warnings['dark']
