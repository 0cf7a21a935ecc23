# SPDX-License-Identifier: Apache-2.0
"""Notices that ROS time went back (a bag that starts again, a simulation that is reset) or that its source changed.

Knows no frames. The callback runs on the executor's thread, in the subscription to /clock.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node

# A clock that goes back by less is one whose messages overtook each other.
BACKWARD_JUMP = Duration(nanoseconds=-100_000_000)


def on_clock_jump(node: Node, callback: Callable[[str], None]) -> Any:
    """Calls back with a sentence; returns the handle, to be unregistered before the node is destroyed."""
    def describe(jump: Any) -> None:
        seconds = jump.delta.nanoseconds / 1e9
        callback(f'ROS time went back by {-seconds:.3f} s' if seconds < 0 else 'the source of ROS time changed')

    return node.get_clock().create_jump_callback(
        JumpThreshold(min_forward=None, min_backward=BACKWARD_JUMP, on_clock_change=True), post_callback=describe)
