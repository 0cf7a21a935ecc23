# SPDX-License-Identifier: Apache-2.0
"""The receiver that benchmarks/ingest.py is about: the camera inputs and the allocator setting of
penguin_node. PENGUIN_MALLOC=off leaves the allocator alone.

    python ingest_penguin.py OPTIONS_AS_JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from penguin_ros.ros.process.allocator import keep_freed_memory

HAS_ALLOCATOR = keep_freed_memory()  # before rclpy, as the node does

import rclpy
from ingest_measure import Receipts, measured, report
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from penguin_ros.config import PenguinConfig
from penguin_ros.frame import Frame
from penguin_ros.ros.camera_input.camera_input import CameraInput, FrameSinks
from penguin_ros.ros.conversions.topics import CameraSetting
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.settings import with_values


def start(
    node: Node, number: int, receipts: Receipts, config: PenguinConfig, drops: list[str]
) -> CameraInput:
    """Starts a camera input whose frames are noted."""
    newest: list[Frame] = []

    def receive(frame: Frame) -> None:
        newest[:] = [frame]
        receipts.messages += 1
        receipts.note(number, node.get_clock().now().nanoseconds - frame.stamp_ns)

    camera = CameraInput(
        node,
        CameraSetting(f'camera_{number}', f'camera_{number}/image', 'raw'),
        config,
        CallbackGuard(node.get_logger()),
        FrameSinks(receive, drops.append),
    )
    camera.start()
    return camera


def main() -> None:
    """Measures and reports one line."""
    options = json.loads(sys.argv[1])
    rclpy.init()
    node = Node('penguin_receiver')
    receipts = Receipts(options['cameras'])
    drops: list[str] = []
    config = with_values(PenguinConfig(), {'clip.fps': float(options['sample_hz'])})
    cameras = [start(node, number, receipts, config, drops) for number in range(options['cameras'])]
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    result: dict[str, Any] = measured(executor, receipts, options)
    healths = [camera.health() for camera in cameras]
    report(
        {
            **result,
            'has_allocator': HAS_ALLOCATOR,
            'drops': len(drops),
            'lost_in_transport': sum(health.lost for health in healths),
            'published_hz': min(health.publish_rate_hz for health in healths),
        }
    )
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
