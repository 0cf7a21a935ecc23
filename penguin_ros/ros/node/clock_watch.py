# SPDX-License-Identifier: Apache-2.0
"""Watches /clock where use_sim_time is set: two nodes that publish it, and a clock that is paused.

Everything runs on the executor's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.process.bounded_log import BoundedLog

TOPIC = '/clock'
PAUSED_NS = 3 * NANOSECONDS


class ClockWatch:
    """Looks at /clock each time it is asked, and logs what is new."""

    def __init__(self, node: Node, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._node = node
        self._steady_ns = steady_ns
        self._log = BoundedLog(node.get_logger(), steady_ns)
        self._ros_ns = -1
        self._moved_ns = 0
        self._known: frozenset[str] = frozenset()

    def warnings(self) -> tuple[str, ...]:
        """Returns a sentence for each thing that is wrong; none when all is well."""
        if not self._node.get_parameter('use_sim_time').value:
            self._ros_ns = -1
            return ()
        found = {
            name: text
            for name, text in (('doubled', self._doubled()), ('paused', self._paused()))
            if text
        }
        for name in found.keys() - self._known:
            self._log.warning(name, found[name])
        self._known = frozenset(found)
        return tuple(found.values())

    def _doubled(self) -> str:
        sources = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(TOPIC))
        if len(sources) < 2:
            return ''
        names = ' and '.join(
            sorted(f'{each.node_namespace.rstrip("/")}/{each.node_name}' for each in sources)
        )
        return (
            f'{len(sources)} publishers on {TOPIC}: {names}. ROS time jumps between them, and each '
            'jump back makes the node forget its frames. Leave one: play a recording that holds '
            f'{TOPIC} without --clock, or with --topics that leave it out'
        )

    def _paused(self) -> str:
        """Returns a sentence when a clock that has run stands still."""
        ros_ns, steady_ns = self._node.get_clock().now().nanoseconds, self._steady_ns()
        if ros_ns != self._ros_ns or ros_ns <= 0:
            self._ros_ns, self._moved_ns = ros_ns, steady_ns
            return ''
        seconds = (steady_ns - self._moved_ns) / NANOSECONDS
        if steady_ns - self._moved_ns <= PAUSED_NS:
            return ''
        return (
            f'{TOPIC} has stood still for {seconds:.0f} s: the simulation or the player is paused, '
            'or has ended. Questions about the present see the frames from before'
        )
