# SPDX-License-Identifier: Apache-2.0
"""Whatever a camera sends over real topics, each message is used or refused by cause, a camera of
which less than half is used is never OK, and nothing raises.
"""

from __future__ import annotations

import array
import io
import time
from dataclasses import dataclass

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from support.camera_receiver import Receiver
from support.graph import image_message

from penguin_ros.clip_buffer import ClipBuffer
from penguin_ros.config import BufferConfig, PenguinConfig
from penguin_ros.ros.camera_input.camera_input import CameraInput
from penguin_ros.ros.camera_input.health import CameraState
from penguin_ros.ros.conversions.topics import CameraSetting
from penguin_ros.settings import with_values

pytestmark = pytest.mark.slow

SECOND = 10**9
QUIET_S = 0.3
RAW = ('good', '8UC3', '16UC1', 'nonsense', 'short', 'step', 'empty', 'mono16', 'huge')
COMPRESSED = ('good', 'cut', 'gray end', 'no end marker', 'noise', 'empty', 'depth', 'h264', 'png')
STAMPS = ('now', 'same', 'late', 'ahead', 'zero', 'boot', 'twice')


@dataclass(frozen=True)
class Behaviour:
    """A camera: how it publishes, and what becomes of picture and stamp, message by message."""

    transport: str
    reliability: ReliabilityPolicy
    durability: DurabilityPolicy
    offset_s: int
    period_s: float
    messages: tuple[tuple[str, str], ...]


@st.composite
def behaviours(draw):
    """Mixtures in which some kinds come often."""
    transport = draw(st.sampled_from(['raw', 'compressed', 'auto']))
    kinds = st.sampled_from(RAW if transport == 'raw' else COMPRESSED)
    pictures = draw(st.lists(kinds, min_size=1, max_size=4))
    stamps = draw(st.lists(st.sampled_from(STAMPS), min_size=1, max_size=3))
    message = st.tuples(st.sampled_from([*pictures, 'good']), st.sampled_from([*stamps, 'now']))
    return Behaviour(
        transport,
        draw(st.sampled_from([ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])),
        draw(st.sampled_from([DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL])),
        draw(st.sampled_from([0, 0, 37, -86_400])),
        draw(st.sampled_from([0.0, 0.02, 0.06])),
        tuple(draw(st.lists(message, min_size=5, max_size=50))),
    )


def raw(kind, stamp_ns, number):
    message = image_message(number, stamp_ns)
    if kind in ('8UC3', '16UC1', 'nonsense', 'mono16'):
        message.encoding = kind
    elif kind == 'short':
        message.data = message.data[:-7]
    elif kind == 'step':
        message.step = 1
    elif kind == 'empty':
        message.height = message.width = 0
        message.data = array.array('B')
    elif kind == 'huge':
        message.height = 2**31
    return message


def jpeg(number):
    stream = io.BytesIO()
    source = image_message(number, 0)
    pixels = np.frombuffer(source.data, np.uint8).reshape(source.height, source.width, 3)
    PIL.Image.fromarray(pixels).save(stream, 'JPEG', quality=90)
    return stream.getvalue()


def compressed(kind, stamp_ns, number):
    content = jpeg(number)
    half = len(content) * 3 // 4
    content = {
        'cut': content[:half],
        'gray end': content[:half] + b'\xff\xd9',
        'no end marker': content[:-2],
        'noise': b'\xff\xd8\xff' + bytes(range(256)),
        'empty': b'',
        'png': b'\x89PNG\r\n\x1a\n' + content,
    }.get(kind, content)
    label = {'depth': '16UC1; png compressed ', 'h264': 'h264'}.get(kind, 'jpeg')
    message = CompressedImage(format=label, data=array.array('B', content))
    message.header = image_message(0, stamp_ns).header
    return message


def stamp_of(kind, start_ns, last_ns, offset_s):
    now_ns = time.time_ns() + offset_s * SECOND
    return {
        'now': now_ns,
        'same': start_ns,
        'late': now_ns - 3 * SECOND,
        'ahead': now_ns + 5000 * SECOND,
        'zero': 0,
        'boot': time.monotonic_ns(),
        'twice': last_ns or now_ns,
    }[kind]


class Judged(Receiver):
    """A receiver whose frames go to a buffer; each camera of it begins anew."""

    def begin(self, transport):
        self.camera.stop()
        self.buffer = ClipBuffer('front', BufferConfig(max_bytes=60_000))
        self.take = lambda frame: self.buffer.add(frame, self.node.get_clock().now().nanoseconds)
        setting = CameraSetting('front', 'image', transport)
        values = {'clip.fps': 200.0, 'watch.stale_after': 30.0}
        config = with_values(PenguinConfig(), values)
        self.camera = CameraInput(self.node, setting, config, self.guard, self.sinks)
        self.camera.start()

    def spin(self, seconds):
        end = time.monotonic() + seconds
        self.executor.spin_once(timeout_sec=0.0)
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.005)

    def check(self):
        """Compares the verdict with what became of the messages."""
        health = self.camera.health()
        assert health.received == health.used + sum(health.drops.values())
        assert health.used == self.buffer.status(0).received
        is_ok = health.state is CameraState.OK and not health.warnings
        if health.received and 2 * health.used < health.received:
            assert not is_ok, (health.used, health.drops)
            assert any(cause in health.reason for cause in health.drops) or health.warnings
        if health.reason:
            assert health.cause and ' at 0x' not in health.reason
        return health


@pytest.fixture(scope='module')
def receiver(graph):
    judged = Judged(graph, 'raw')
    yield judged
    judged.close()


@given(behaviours())
@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_each_message_is_used_or_refused_by_cause_and_the_verdict_follows(
    graph, receiver, behaviour
):
    is_raw = behaviour.transport == 'raw'
    qos = QoSProfile(depth=10, reliability=behaviour.reliability, durability=behaviour.durability)
    topic = 'image' if is_raw else 'image/compressed'
    publisher = graph.node.create_publisher(Image if is_raw else CompressedImage, topic, qos)
    receiver.begin(behaviour.transport)
    try:
        receiver.wait_for(
            lambda: publisher.get_subscription_count() and receiver.camera.health().publishers
        )
        start_ns, last_ns = time.time_ns(), 0
        for number, (picture, stamp) in enumerate(behaviour.messages):
            last_ns = stamp_of(stamp, start_ns, last_ns, behaviour.offset_s)
            publisher.publish((raw if is_raw else compressed)(picture, last_ns, number))
            receiver.spin(behaviour.period_s)
            receiver.check()
        receiver.spin(QUIET_S)
        health = receiver.check()
        assert health.received and not receiver.guard.faults, receiver.guard.last_fault
        event(f'{health.state.name} {health.cause or "; ".join(health.warnings)}')
    finally:
        graph.node.destroy_publisher(publisher)
        receiver.wait_for(lambda: not receiver.node.count_publishers(topic))
