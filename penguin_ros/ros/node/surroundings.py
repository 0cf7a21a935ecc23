# SPDX-License-Identifier: Apache-2.0
"""Watches what surrounds the node: another node of its name, a clock that stands still, and ROS
time that goes back (a bag that restarts, a simulation that is reset).

Everything runs on the executor's thread; the callback for a jump of time runs in the subscription
to /clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node

from penguin_ros.frame import NANOSECONDS

GRACE_NS = 5 * NANOSECONDS
STANDING_CLOCK = (
    'use_sim_time is set, but nothing arrives on /clock: ROS time stands at zero, frames and '
    'captions wait for it. Start the simulation, or type `ros2 bag play BAG --clock`, or set '
    'use_sim_time to false'
)
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
    """Looks for what is wrong around the node each time it is asked, and logs what is new, and that
    time has begun to pass.
    """

    def __init__(self, node: Node, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._node = node
        self._steady_ns = steady_ns
        self._standing_since_ns: int | None = None
        self._known: frozenset[str] = frozenset()

    def warnings(self) -> tuple[str, ...]:
        """Returns a sentence for each thing that is wrong; none when all is well."""
        namesake, clock = self._namesake(), self._standing_clock()
        logger = self._node.get_logger()
        if namesake and namesake not in self._known:
            logger.error(namesake)
        if clock and clock not in self._known:
            logger.warning(clock)
        if STANDING_CLOCK in self._known and not clock:
            logger.info('the clock is all right now: ' + self._time())
        found = tuple(filter(None, (namesake, clock)))
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
        """Returns a sentence when ROS time has not begun, once that is no longer what every start
        of a simulation looks like: discovery takes a moment, and the world starts after the node.
        """
        is_standing = (
            self._node.get_parameter('use_sim_time').value
            and self._node.get_clock().now().nanoseconds == 0
        )
        if not is_standing:
            self._standing_since_ns = None
            return ''
        now_ns = self._steady_ns()
        if self._standing_since_ns is None:
            self._standing_since_ns = now_ns
        return STANDING_CLOCK if now_ns - self._standing_since_ns >= GRACE_NS else ''

    def _time(self) -> str:
        """Says which time the node goes by."""
        if not self._node.get_parameter('use_sim_time').value:
            return "the node takes the system's time"
        seconds = self._node.get_clock().now().nanoseconds / NANOSECONDS
        return f'ROS time is {seconds:.1f} s'
