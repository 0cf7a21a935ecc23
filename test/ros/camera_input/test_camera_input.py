# SPDX-License-Identifier: Apache-2.0
"""One camera on a real graph: images over real topics become frames, or are counted, and silence
is explained.
"""

from __future__ import annotations

import array
import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import rclpy
from PIL import Image as Picture
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from support.graph import SyntheticCamera, image_message

from penguin_ros.config import PenguinConfig
from penguin_ros.ros.camera_input import camera_input
from penguin_ros.ros.camera_input.health import CameraState
from penguin_ros.settings import with_values

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def graph(fresh_graph):
    """A graph for each test alone."""
    return fresh_graph


class CompressedCamera(SyntheticCamera):
    """Publishes the images as PNG on the compressed topic below."""

    def __init__(self, graph, topic='image/compressed'):
        super().__init__(graph, 'unused_raw')
        self.publisher = graph.node.create_publisher(CompressedImage, topic, 10)

    def publish(self, stamp_ns=None, **fields):
        raw = image_message(self._count, stamp_ns or self._graph.node.get_clock().now().nanoseconds)
        target = io.BytesIO()
        Picture.fromarray(np.frombuffer(raw.data, np.uint8).reshape(raw.height, raw.width, 3)).save(
            target, 'PNG'
        )
        message = CompressedImage(
            header=raw.header,
            format='rgb8; png compressed bgr8',
            data=array.array('B', target.getvalue()),
        )
        for name, value in fields.items():
            setattr(message, name, value)
        self._count += 1
        self.publisher.publish(message)


def pixels(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def publish_until(receiver, camera, condition, **fields):
    """Publishes such images until the condition holds; discovery and a closed gate swallow the
    first ones.
    """

    def again():
        camera.publish(**fields)
        return condition()

    receiver.wait_for(again)


def test_a_frame_carries_pixels_stamp_frame_id_and_camera(graph, receiver):
    front, camera, sent = receiver(), SyntheticCamera(graph, 'image'), image_message(7, 0)
    publish_until(
        front, camera, lambda: front.frames, stamp_ns=1_700_000_000_123_456_789, data=sent.data
    )
    frame = front.frames[0]
    assert frame.stamp_ns == 1_700_000_000_123_456_789 and (frame.camera, frame.frame_id) == (
        'front',
        'camera_optical',
    )
    assert np.array_equal(frame.image, pixels(sent))
    assert front.camera.health().cause == 'clock_skew'  # the stamp is years old


def test_frames_are_sampled_at_the_clip_rate_and_are_the_newest(graph, receiver):
    front, camera = receiver(settings={'clip.fps': 5.0}), SyntheticCamera(graph, 'image')
    camera.start(50.0)
    front.wait_for(lambda: len(front.frames) >= 12)
    gaps = np.diff([frame.stamp_ns for frame in front.frames[1:]]) / 1e6
    assert abs(np.median(gaps) - 200) < 30
    health = front.camera.health()
    assert 4 < health.rate_hz < 6 and 35 < health.publish_rate_hz < 60
    assert not front.drops and health.lost == 0


def test_a_changed_rate_applies_while_running(graph, receiver):
    front, camera = receiver(settings={'clip.fps': 0.1}), SyntheticCamera(graph, 'image')
    camera.start(50.0)
    front.wait_for(lambda: front.frames)
    front.camera.configure(with_values(PenguinConfig(), {'clip.fps': 20.0}))
    front.wait_for(lambda: len(front.frames) >= 10, seconds=5)


def test_no_frame_comes_after_stop_and_a_start_begins_with_none(graph, receiver):
    front, camera = receiver(), SyntheticCamera(graph, 'image')
    camera.start(50.0)
    front.wait_for(lambda: len(front.frames) >= 2)
    front.camera.stop()
    graph.wait_for(lambda: camera.publisher.get_subscription_count() == 0)
    assert not list(front.node.subscriptions) and len(list(front.node.timers)) == 0
    count = len(front.frames)
    front.camera.start()
    assert front.camera.health().age_ns is None
    front.wait_for(lambda: len(front.frames) > count)


@pytest.mark.parametrize('transport', ['compressed', 'auto'])
def test_compressed_images_become_frames(graph, receiver, transport):
    front, camera = receiver(transport), CompressedCamera(graph)
    camera.start(20.0)
    front.wait_for(lambda: front.frames)
    assert (
        front.frames[0].image.shape == (48, 64, 3)
        and front.camera.health().transport == 'compressed'
    )
    assert front.camera.health().topic == '/image/compressed'


def test_auto_changes_to_the_other_topic_when_the_publisher_disappears(graph, receiver):
    front, raw = receiver('auto'), SyntheticCamera(graph, 'image')
    raw.start(20.0)
    front.wait_for(lambda: front.frames)
    assert front.camera.health().transport == 'raw'
    raw.stop()
    graph.node.destroy_publisher(raw.publisher)
    CompressedCamera(graph).start(20.0)
    front.wait_for(lambda: front.camera.health().transport == 'compressed')
    count = len(front.frames)
    front.wait_for(lambda: len(front.frames) > count)


def test_remapping_the_raw_topic_moves_the_compressed_one_too(graph, receiver):
    front = receiver('compressed', arguments=('-r', 'image:=/left/camera'))
    CompressedCamera(graph, '/left/camera/compressed').start(20.0)
    front.wait_for(lambda: front.frames)


def test_the_compressed_topic_can_be_remapped_by_itself(graph, receiver):
    front = receiver(
        'compressed', arguments=('-r', 'image:=/left/camera', '-r', 'image/compressed:=/jpeg')
    )
    CompressedCamera(graph, '/jpeg').start(20.0)
    front.wait_for(lambda: front.frames)


# --- bad images ---------------------------------------------------------------------------------

BAD = {
    'encoding': [{'encoding': '32FC1'}, {'encoding': ''}],
    'shape': [
        {'width': 0, 'height': 0, 'step': 0, 'data': array.array('B')},
        {'data': array.array('B', [1, 2, 3])},
        {'step': 7},
    ],
}


@pytest.mark.parametrize(
    ('cause', 'fields'), [(cause, fields) for cause, cases in BAD.items() for fields in cases]
)
def test_a_bad_image_is_dropped_and_counted_and_the_next_good_one_taken(
    graph, receiver, cause, fields
):
    front, camera = receiver(), SyntheticCamera(graph, 'image')
    publish_until(front, camera, lambda: len(front.drops) >= 3, **fields)
    assert set(front.drops) == {cause} and not front.frames
    health = front.camera.health()
    assert (health.state, health.cause) == (CameraState.REJECTED, cause) and health.drops[
        cause
    ] == len(front.drops)
    publish_until(front, camera, lambda: front.camera.health().state is CameraState.OK)
    assert front.frames


def png_bomb():
    """A PNG whose header claims 60000 x 60000."""
    header = b'\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0'
    return (
        b'\x89PNG\r\n\x1a\n'
        + struct.pack('>I', 13)
        + b'IHDR'
        + header
        + struct.pack('>I', zlib.crc32(b'IHDR' + header))
        + b'\0\0\0\0IDAT'
        + struct.pack('>I', zlib.crc32(b'IDAT'))
    )


@pytest.mark.parametrize(
    ('cause', 'content'),
    [
        ('corrupt', b''),
        ('corrupt', b'\xff\xd8\xff\xe0 no jpeg'),
        ('corrupt', bytes(99)),
        ('too_large', png_bomb()),
    ],
)
def test_a_bad_compressed_image_is_dropped_and_counted(graph, receiver, cause, content):
    front, camera = receiver('compressed'), CompressedCamera(graph)
    publish_until(front, camera, lambda: len(front.drops) >= 2, data=array.array('B', content))
    assert set(front.drops) == {cause} and front.camera.health().cause == cause
    publish_until(front, camera, lambda: front.frames)


def test_a_resolution_change_goes_through(graph, receiver):
    front, camera = receiver(), SyntheticCamera(graph, 'image')
    publish_until(front, camera, lambda: front.frames)
    small = {'width': 4, 'height': 2, 'step': 12, 'data': array.array('B', bytes(24))}
    publish_until(front, camera, lambda: front.frames[-1].size == (2, 4), **small)


def test_a_missing_stamp_is_replaced_by_the_time_of_receipt_and_reported(graph, receiver):
    front, camera = receiver(), SyntheticCamera(graph, 'image')
    publish_until(front, camera, lambda: len(front.frames) >= 2, stamp_ns=0)
    assert all(
        abs(front.node.get_clock().now().nanoseconds - frame.stamp_ns) < 20e9
        for frame in front.frames
    )
    health = front.camera.health()
    assert health.zero_stamps == len(front.frames) and 'stamp' in health.warnings['zero_stamp']


def test_frames_are_sampled_where_simulated_time_never_starts(graph, receiver):
    front, camera = (
        receiver(arguments=('-p', 'use_sim_time:=true')),
        SyntheticCamera(graph, 'image'),
    )
    publish_until(front, camera, lambda: len(front.frames) >= 3)
    assert 'use_sim_time' in front.health_with('clock_skew').warnings['clock_skew']


def test_an_exception_behind_the_camera_is_counted_and_the_node_lives(graph, receiver):
    front, camera = receiver(), SyntheticCamera(graph, 'image')

    def fail(frame):
        raise KeyError('a defect')

    front.take = fail
    publish_until(front, camera, lambda: len(front.drops) >= 2)
    assert set(front.drops) == {'exception'} and sum(front.guard.faults.values()) == len(
        front.drops
    )
    assert 'a defect' in front.health_with('exception').reason
    front.take = front.frames.append
    publish_until(front, camera, lambda: front.frames)


# --- silence --------------------------------------------------------------------------------------


def test_no_publisher_is_reported_with_topics_that_carry_images(graph, receiver):
    SyntheticCamera(graph, 'elsewhere')
    front = receiver()
    front.wait_for(lambda: '/elsewhere' in front.camera.health().reason)
    assert (
        front.camera.health().cause == 'no_publisher'
        and front.camera.health().state is CameraState.WAITING
    )


def test_a_qos_clash_is_reported_by_policy_and_node(graph, receiver):
    front = receiver(arguments=('-p', 'qos_overrides./image.subscription.reliability:=reliable'))
    SyntheticCamera(graph, 'image', SENSOR).start(20.0)
    reason = front.health_with('qos').reason
    assert 'RELIABILITY' in reason and '/test_client' in reason
    assert front.camera._clash_event == 'RELIABILITY'  # the middleware says the same
    assert not front.frames


def test_a_topic_of_another_type_is_reported(graph, receiver):
    front = receiver()
    graph.node.create_publisher(String, 'image', 1)
    assert 'std_msgs/msg/String' in front.health_with('wrong_type').reason


def test_a_camera_that_stops_becomes_stale_and_recovers(graph, receiver):
    front, camera = receiver(), SyntheticCamera(graph, 'image')
    camera.start(20.0)
    front.wait_for(lambda: front.frames)
    camera.stop()
    front.wait_for(lambda: front.camera.health().state is CameraState.STALE)
    assert '/test_client' in front.camera.health().reason
    camera.start(20.0)
    front.wait_for(lambda: front.camera.health().state is CameraState.OK)


def test_two_publishers_are_reported_with_their_names(graph, receiver):
    front = receiver()
    SyntheticCamera(graph, 'image').start(20.0)
    other = Node('bag_player', context=graph.context, namespace='/replay')
    other.create_publisher(type(image_message(0, 0)), '/image', 10)
    assert (
        '/replay/bag_player and /test_client'
        in front.health_with('publishers').warnings['publishers']
    )
    other.destroy_node()


def test_stamps_ahead_of_the_clock_are_reported(graph, receiver):
    front, camera = receiver(), SyntheticCamera(graph, 'image')
    ahead = graph.node.get_clock().now().nanoseconds + 60 * 10**9
    publish_until(front, camera, lambda: front.frames, stamp_ns=ahead)
    assert 'ahead' in front.health_with('clock_skew').warnings['clock_skew']


LARGE_CAMERA = """
import array, sys, time
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('driver')
publisher = node.create_publisher(Image, 'image', 1)
data = array.array('B', bytes(1080 * 5760))
message = Image(height=1080, width=1920, encoding='rgb8', step=5760, data=data)
while rclpy.ok():
    message.header.stamp = node.get_clock().now().to_msg()
    try:
        publisher.publish(message)
    except Exception:
        break  # asked to end
    time.sleep(1 / 30)
rclpy.try_shutdown()
"""


@pytest.mark.skipif(
    rclpy.get_rmw_implementation_identifier() != 'rmw_fastrtps_cpp', reason='a trait of Fast DDS'
)
def test_frames_lost_in_the_default_shared_memory_are_reported_with_the_cure(graph, receiver):
    front = receiver(settings={'clip.fps': 30.0})
    environment = {name: value for name, value in os.environ.items() if 'PROFILES_FILE' not in name}
    environment['ROS_DOMAIN_ID'] = str(graph.domain.number)
    driver = subprocess.Popen([sys.executable, '-c', LARGE_CAMERA], env=environment)
    try:
        health = front.health_with('transport', 40)
        text = health.warnings.get('transport', health.reason)
        assert 'config/fastdds_images.xml' in text and health.lost > 0
    finally:
        driver.terminate()  # killed, it would leave its shared memory behind
        driver.wait(20)


def test_messages_without_facts_as_those_of_humble_are_taken_too(graph, receiver, monkeypatch):
    monkeypatch.setattr(camera_input, 'is_humble', lambda: True)
    front, camera = receiver(), SyntheticCamera(graph, 'image')
    camera.start(50.0)
    front.wait_for(lambda: len(front.frames) >= 5)
    assert front.camera.health().publish_rate_hz == 0 and not front.guard.faults


def test_the_gate_leaves_the_executor_alone_between_samples(graph, receiver):
    """A hundred messages a second are not even waited for by an executor that wants one in ten
    seconds.
    """
    front, camera = receiver(settings={'clip.fps': 0.1}), SyntheticCamera(graph, 'image')
    camera.start(100.0)
    front.wait_for(lambda: front.frames)
    subscription = next(iter(front.node.subscriptions))
    assert not front.executor.can_execute(subscription)
    for _ in range(50):
        graph.executor.spin_once(timeout_sec=0.05)
        front.executor.spin_once(timeout_sec=0)
    assert len(front.frames) == 1 and not front.executor.can_execute(subscription)


def test_an_image_that_was_published_once_and_latched_arrives_where_the_override_asks_for_it(
    graph, receiver
):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    camera = SyntheticCamera(graph, '/image', latched)
    stamp_ns = graph.node.get_clock().now().nanoseconds
    camera.publish(stamp_ns)
    name = 'qos_overrides./image.subscription'
    taking = receiver(
        arguments=(
            '-p',
            f'{name}.durability:=transient_local',
            '-p',
            f'{name}.reliability:=reliable',
        )
    )
    taking.wait_for(lambda: taking.frames, what='the latched image')
    assert taking.frames[0].stamp_ns == stamp_ns


def test_an_override_that_asks_for_more_than_the_publisher_offers_is_named(graph, receiver):
    SyntheticCamera(graph, '/image')
    asking = receiver(
        arguments=('-p', 'qos_overrides./image.subscription.durability:=transient_local')
    )
    health = asking.health_with('qos')
    assert 'DURABILITY' in health.reason and 'qos_overrides./image.subscription' in health.reason
