# SPDX-License-Identifier: Apache-2.0
"""Watches what surrounds the node: another node of its name, a clock that stands still, and ROS
time that goes back (a bag that restarts, a simulation that is reset).

Everything runs on the executor's thread; the callback for a jump of time runs in the subscription
to /clock.
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
    """Calls back with a sentence when ROS time goes back or its source changes.

    Returns the handle, which is to be unregistered before the node is destroyed.
    """

    def describe(jump: Any) -> None:
        seconds = jump.delta.nanoseconds / 1e9
        if seconds < 0:
            callback(f'ROS time went back by {-seconds:.3f} s')
        else:
            callback('the source of ROS time changed')

    return node.get_clock().create_jump_callback(
        JumpThreshold(min_forward=None, min_backward=BACKWARD_JUMP, on_clock_change=True),
        post_callback=describe,
    )


class NodeWatch:
    """Looks for what is wrong around the node each time it is asked, and logs what is new."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: frozenset[str] = frozenset()

    def warnings(self) -> tuple[str, ...]:
        """Returns a sentence for each thing that is wrong; none when all is well."""
        found = tuple(text for text in (self._namesake(), self._standing_clock()) if text)
        for text in found:
            if text not in self._known:
                self._node.get_logger().error(text)
        self._known = frozenset(found)
        return found

    def _namesake(self) -> str:
        own = (self._node.get_name(), self._node.get_namespace())
        if self._node.get_node_names_and_namespaces().count(own) < 2:
            return ''
        return (
            f'another node is called {self._node.get_fully_qualified_name()} too: parameters, '
            'services and answers of the two get mixed up. Give one of them another name '
            '(--ros-args -r __node:=NAME) or namespace (-r __ns:=/NAMESPACE)'
        )

    def _standing_clock(self) -> str:
        if (
            not self._node.get_parameter('use_sim_time').value
            or self._node.get_clock().now().nanoseconds > 0
        ):
            return ''
        return (
            'use_sim_time is set, but nothing arrives on /clock: ROS time stands at zero, frames '
            'and captions wait for it. Start the simulation or `ros2 bag play --clock`, or set '
            'use_sim_time to false'
        )
