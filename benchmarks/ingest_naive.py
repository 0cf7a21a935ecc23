# SPDX-License-Identifier: Apache-2.0
"""A naive receiver for benchmarks/ingest.py: the node that one writes first. It uses nothing of
penguin_ros.

It takes every frame with the sensor-data QoS as shipped, converts it in the callback as cv_bridge
does, keeps the newest, and counts it as a sample whenever one is due.

    python ingest_naive.py OPTIONS_AS_JSON
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import cv2
import numpy as np
import rclpy
from ingest_measure import Receipts, measured, report
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image


class NaiveCamera:
    """Converts every frame of one topic."""

    def __init__(self, node: Node, number: int, receipts: Receipts, sample_hz: float) -> None:
        self._node = node
        self._number = number
        self._receipts = receipts
        self._period_s = 1 / sample_hz
        self._due_s = 0.0
        self.latest: Any = None
        node.create_subscription(
            Image, f'camera_{number}/image', self._receive, qos_profile_sensor_data
        )

    def _receive(self, message: Image) -> None:
        self._receipts.messages += 1
        pixels = np.ndarray(
            (message.height, message.width, 3), np.uint8, message.data, strides=(message.step, 3, 1)
        )
        self.latest = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = max(self._due_s, now_s - self._period_s / 2) + self._period_s
            stamp = message.header.stamp
            age_ns = self._node.get_clock().now().nanoseconds - stamp.sec * 10**9 - stamp.nanosec
            self._receipts.note(self._number, age_ns)


def main() -> None:
    """Measures and reports one line."""
    options = json.loads(sys.argv[1])
    rclpy.init()
    node = Node('naive_receiver')
    receipts = Receipts(options['cameras'])
    cameras = [
        NaiveCamera(node, number, receipts, options['sample_hz'])
        for number in range(options['cameras'])
    ]
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    report({**measured(executor, receipts, options), 'converted': len(cameras)})
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
