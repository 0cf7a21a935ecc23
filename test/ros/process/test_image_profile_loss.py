# SPDX-License-Identifier: Apache-2.0
"""config/fastdds_images.xml: raw images over shared memory arrive with it on the publisher's side,
and are lost without.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

PROFILE = Path(__file__).resolve().parents[3] / 'config' / 'fastdds_images.xml'
FRAMES = 10
LAST = 'last'
PUBLISHER = f"""
import array, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('raw_images')
qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
publisher = node.create_publisher(Image, 'image', qos)
end = time.monotonic() + 30
while not publisher.get_subscription_count() and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(0.5)  # the subscriber's side of the match
data = array.array('B', bytes(1080 * 5760))
full_hd = Image(height=1080, width=1920, step=5760, encoding='rgb8', data=data)
for _ in range({FRAMES}):
    publisher.publish(full_hd)
    time.sleep(0.2)
while publisher.get_subscription_count() and time.monotonic() < end:
    publisher.publish(Image(encoding='{LAST}'))  # best effort: until it was seen
    time.sleep(0.1)
"""


class Receiver:
    """Counts whole images until the publisher says that it is done."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context, domain_id=domain)
        self.node = rclpy.create_node('receiver', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images = 0
        self.is_done = False
        qos = QoSProfile(depth=FRAMES, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(Image, 'image', self._receive, qos)

    def _receive(self, message: Image) -> None:
        self.is_done = self.is_done or message.encoding == LAST
        self.images += len(message.data) == 1080 * 5760

    def receive(self, environment: dict[str, str]) -> int:
        """Returns how many images arrived from a publisher process with these variables."""
        publisher = subprocess.Popen(
            [sys.executable, '-c', PUBLISHER], env={**os.environ, **environment}
        )
        try:
            end = time.monotonic() + 60
            while not self.is_done and time.monotonic() < end:
                self.executor.spin_once(timeout_sec=0.1)
        finally:
            publisher.terminate()
            publisher.wait(10)
        assert self.is_done, 'the publisher did not get through'
        return self.images


@pytest.fixture
def receiver(ros_domain: int) -> Iterator[Receiver]:
    receiver = Receiver(ros_domain)
    yield receiver
    receiver.executor.shutdown()
    receiver.node.destroy_node()
    receiver.context.try_shutdown()


@pytest.mark.skipif(
    'RMW_IMPLEMENTATION' in os.environ and 'fastrtps' not in os.environ['RMW_IMPLEMENTATION'],
    reason='a profile of Fast DDS',
)
class TestRawFullHd:
    def test_every_image_arrives_with_the_profile(self, receiver: Receiver) -> None:
        names = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
        assert receiver.receive(dict.fromkeys(names, str(PROFILE))) == FRAMES

    def test_images_are_lost_without_it(self, receiver: Receiver) -> None:
        assert receiver.receive({}) < FRAMES
