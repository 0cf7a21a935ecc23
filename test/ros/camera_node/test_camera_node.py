# SPDX-License-Identifier: Apache-2.0
"""The camera node as a process: what it publishes, when, with which stamps, and how it ends."""

from __future__ import annotations

import dataclasses
import io
import os
import signal

import cv2
import numpy as np
import pytest
from PIL import Image as Picture
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from support.graph import parameter_node, stamp_ns

from penguin_ros.errors import SettingError
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.ros.camera_node.parameters import CameraParameters, camera_parameters

CAMERA_NODE = 'penguin_ros.ros.camera_node.main'
SENSOR = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
FRAMES, HZ = 8, 10.0
PERIOD_NS = 100_000_000


@pytest.fixture
def graph(fresh_graph):
    """A graph for each test alone."""
    return fresh_graph


@pytest.fixture
def film(tmp_path):
    """Eight frames at 10 Hz, red on top, whose brightness tells their number."""
    path = tmp_path / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), HZ, (48, 32))
    for number in range(FRAMES):
        image = np.full((32, 48, 3), 30 * number, np.uint8)
        image[:8] = (0, 0, 255)  # BGR
        writer.write(image)
    writer.release()
    return path


def brightness(rgb):
    return round(float(rgb[12:].mean()) / 30)


def start(graph, source, **parameters):
    return graph.start(CAMERA_NODE, parameters={'source': str(source), **parameters})


def test_raw_and_compressed_images_carry_the_film_and_the_same_stamps(graph, film):
    raw, compressed = (
        graph.collect(Image, 'image', SENSOR),
        graph.collect(CompressedImage, 'image/compressed', SENSOR),
    )
    camera = start(graph, film, frame_id='front_optical')
    graph.wait_for(lambda: len(raw) > FRAMES and len(compressed) > FRAMES)
    assert (
        raw[-1].encoding == 'rgb8'
        and raw[-1].header.frame_id == compressed[-1].header.frame_id == 'front_optical'
    )
    assert (
        compressed[-1].format == 'rgb8; jpeg compressed bgr8'
        and bytes(compressed[-1].data[:3]) == b'\xff\xd8\xff'
    )
    by_stamp = {stamp_ns(message.header.stamp): message for message in raw}
    pairs = [
        (by_stamp[stamp_ns(message.header.stamp)], message)
        for message in compressed
        if stamp_ns(message.header.stamp) in by_stamp
    ]
    assert len(pairs) >= FRAMES - 2
    for each in pairs:
        images = [message_to_rgb(message) for message in each]
        assert brightness(images[0]) == brightness(images[1])
        assert all(
            image[2, 20, 0] > 180 and image[2, 20, 2] < 80 for image in images
        )  # red, not blue
    camera.stop()


def test_stamps_are_start_plus_media_time_and_go_on_over_laps(graph, film):
    messages = graph.collect(Image, 'image', SENSOR)
    camera = start(graph, film)
    graph.wait_for(lambda: len(messages) >= 3 * FRAMES)
    stamps = [stamp_ns(message.header.stamp) for message in messages]
    steps = np.diff(stamps)
    assert (steps > 0).all() and (steps % PERIOD_NS == 0).all() and np.median(steps) == PERIOD_NS
    numbers = [brightness(message_to_rgb(message)) for message in messages]
    assert all(
        (after - before) % FRAMES == step // PERIOD_NS % FRAMES
        for before, after, step in zip(numbers, numbers[1:], steps, strict=False)
    )
    now_ns = graph.node.get_clock().now().nanoseconds
    assert 0 <= now_ns - stamps[-1] < 5 * 10**9
    camera.stop()


def test_parameters_set_rate_size_encoding_and_topic(graph, film):
    messages = graph.collect(Image, '/left/camera', SENSOR)
    camera = start(graph, film, rate=5, width=24, encoding='mono8', topic='/left/camera')
    graph.wait_for(lambda: len(messages) >= 5)
    assert {(m.width, m.height, m.encoding, m.step, len(m.data)) for m in messages} == {
        (24, 16, 'mono8', 24, 24 * 16)
    }
    assert (
        np.median(np.diff([stamp_ns(message.header.stamp) for message in messages]))
        == 2 * PERIOD_NS
    )
    camera.stop(signal.SIGTERM)


def test_remapping_and_namespace_move_both_topics(graph, film):
    raw = graph.collect(Image, '/rear/picture', SENSOR)
    compressed = graph.collect(CompressedImage, '/rear/picture/compressed', SENSOR)
    camera = graph.start(
        CAMERA_NODE,
        parameters={'source': str(film)},
        arguments=('-r', '__ns:=/rear', '-r', 'image:=picture'),
    )
    graph.wait_for(lambda: raw and compressed)
    camera.stop()


def test_a_reliable_subscriber_is_served_too(graph, film):
    messages = graph.collect(
        Image, 'image', QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    )
    camera = start(graph, film)
    graph.wait_for(lambda: messages)
    camera.stop()


def test_a_folder_of_images_is_published(graph, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in (1, 2, 10):
        Picture.fromarray(np.full((4, 6, 3), 20 * number, np.uint8)).save(folder / f'{number}.png')
    messages = graph.collect(Image, 'image', SENSOR)
    camera = start(graph, folder, rate=20.0)
    graph.wait_for(lambda: len(messages) >= 9)
    levels = [int(message_to_rgb(message)[0, 0, 0]) for message in messages]
    assert set(levels) == {20, 40, 200}
    assert {(before, after) for before, after in zip(levels, levels[1:], strict=False)} >= {
        (20, 40),
        (40, 200),
        (200, 20),
    }
    camera.stop()


def test_a_film_that_does_not_loop_ends_the_node_with_success(graph, film):
    camera = start(graph, film, loop=False)
    assert camera.wait_for_exit() == 0
    assert 'Traceback' not in camera.log


@pytest.mark.parametrize(
    ('parameters', 'reason'), [({}, 'no source given'), ({'rate': 'fast'}, 'rate')]
)
def test_what_cannot_be_used_is_named_and_ends_with_code_2(graph, parameters, reason):
    camera = graph.start(CAMERA_NODE, parameters=parameters)
    assert camera.wait_for_exit() == 2
    assert (
        camera.log.startswith('camera_node: ')
        and reason in camera.log
        and 'Traceback' not in camera.log
    )


@pytest.mark.parametrize(
    ('parameter', 'name'),
    [
        ('encoding:=yuv9', 'encoding'),
        ('rate:=-1.0', 'rate'),
        ('rate:=.nan', 'rate'),
        ('jpeg_quality:=0', 'jpeg_quality'),
        ('jpeg_quality:=90.5', 'jpeg_quality'),
        ('width:=-4', 'width'),
        ('loop:=maybe', 'loop'),
        ("topic:='a b'", 'topic'),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(graph, parameter, name):
    with pytest.raises(SettingError, match=name), parameter_node(graph.domain, parameter) as node:
        camera_parameters(node)


def test_a_rate_may_be_a_whole_number_and_every_parameter_describes_itself(graph):
    with parameter_node(graph.domain, 'rate:=5') as node:
        assert camera_parameters(node).rate == 5.0
        assert all(
            node.describe_parameter(item.name).description
            for item in dataclasses.fields(CameraParameters)
        )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly_while_it_publishes(graph, film, number):
    messages = graph.collect(Image, 'image', SENSOR)
    camera = start(graph, film, rate=200.0)
    graph.wait_for(lambda: len(messages) > 20)
    camera.stop(number)


def test_nothing_is_decoded_while_nobody_listens(graph, film):
    """The processor time shows it: 4K images at 50 Hz would take several cores."""
    camera = start(graph, film, rate=50.0, width=3840, height=2160, encoding='bgr8')
    camera.wait_for_log('50 Hz')
    graph.holds_for(lambda: True, 1.0)
    before = processor_seconds(camera.process.pid)
    graph.holds_for(lambda: True, 2.0)
    assert processor_seconds(camera.process.pid) - before < 0.6
    camera.stop()


def processor_seconds(pid):
    with open(f'/proc/{pid}/stat') as stat:
        fields = stat.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def test_raw_images_of_full_size_arrive_without_loss(graph, video_path):
    """1080p over the profile of our own; with the defaults of Fast DDS most of them are lost (see
    test_camera_input).
    """
    messages = graph.collect(
        Image, 'image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    camera = start(graph, video_path, rate=5.0, width=1920, height=1080)
    graph.wait_for(lambda: len(messages) >= 3)
    first = len(messages)
    graph.wait_for(lambda: len(messages) >= first + 15, 30)
    steps = np.diff([stamp_ns(message.header.stamp) for message in messages[first:]])
    assert np.mean(steps == PERIOD_NS * 2) > 0.8, steps
    camera.stop()


def test_jpeg_quality_is_applied(graph, video_path):
    sizes = {}
    for quality in (20, 95):
        messages = graph.collect(CompressedImage, f'q{quality}/compressed', SENSOR)
        camera = start(graph, video_path, topic=f'q{quality}', jpeg_quality=quality)
        graph.wait_for(lambda messages=messages: messages)
        sizes[quality] = len(messages[0].data)
        assert Picture.open(io.BytesIO(bytes(messages[0].data))).size == (608, 342)
        camera.stop()
    assert sizes[95] > 3 * sizes[20]
