# SPDX-License-Identifier: Apache-2.0
"""A camera for benchmarks/ingest.py: publishes one 1080p image over and over with fresh stamps,
until SIGTERM. It has the shared-memory profile of penguin_ros, without which most images are lost.

    python ingest_camera.py OPTIONS_AS_JSON
"""

from __future__ import annotations

import array
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from penguin_ros.ros.process.allocator import keep_freed_memory
from penguin_ros.ros.process.image_profile import use_image_profile

WIDTH, HEIGHT = 1920, 1080


def main() -> None:
    """Publishes at `hz`; an image that is late is left out."""
    options = json.loads(sys.argv[1])
    keep_freed_memory()
    use_image_profile()
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node(f'camera_{options["number"]}')
    publisher = node.create_publisher(
        Image,
        f'camera_{options["number"]}/image',
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
    )
    pixels = bytes(range(256)) * (WIDTH * HEIGHT * 3 // 256)
    message = Image(
        height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH, data=array.array('B', pixels)
    )
    start = time.monotonic()
    tick = 0
    while rclpy.ok() and time.monotonic() - start < options['seconds']:
        time.sleep(max(0.0, start + tick / options['hz'] - time.monotonic()))
        message.header.stamp = node.get_clock().now().to_msg()
        try:
            publisher.publish(message)
        except Exception:
            if rclpy.ok():
                raise  # else it was asked to end while it published
        tick = max(tick + 1, int((time.monotonic() - start) * options['hz']))
    rclpy.try_shutdown()  # a process that is killed instead leaves its shared memory behind, 64 MiB


if __name__ == '__main__':
    main()
