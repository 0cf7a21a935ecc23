# SPDX-License-Identifier: Apache-2.0
"""Carries calls from the worker's thread to the executor's.

Everything is published by the executor's thread, so nothing is ever published on a context that is
shut down, and a guard condition wakes the executor (a future completed by another thread would
not). The queue is bounded by the core's own queues: it holds at most one growing text and one end
per request, and the captions in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

from penguin_ros.ros.process.callback_guard import CallbackGuard


class ExecutorQueue:
    """Runs posted calls, in order, on the executor's thread of `node`."""

    def __init__(self, node: Node, guard: CallbackGuard) -> None:
        self._node = node
        self._guard = guard
        self._calls: deque[Callable[[], None]] = deque()
        self._trigger = node.create_guard_condition(
            guard.wrap(self.drain), ReentrantCallbackGroup()
        )

    def post(self, call: Callable[[], None]) -> None:
        """Queues a call, from any thread; it is dropped when the node is gone."""
        self._calls.append(call)
        try:
            self._trigger.trigger()
        except InvalidHandle:
            self._calls.clear()

    def drain(self) -> None:
        """Runs what is queued, on the executor's thread."""
        while self._calls:
            self._guard.wrap(self._calls.popleft())()
        # What awaits a future that was completed here is only looked at when the executor comes
        # round again.
        if self._node.executor is not None:
            self._node.executor.wake()
