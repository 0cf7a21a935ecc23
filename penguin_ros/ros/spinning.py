# SPDX-License-Identifier: Apache-2.0
"""Runs a node's callbacks until the process is asked to stop, whatever a callback or rclpy raises. Knows nothing of models.

SingleThreadedExecutor: the multi-threaded one of rclpy before 10.0.4 can fall to a few callbacks per second.
"""
from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.executors import SingleThreadedExecutor

from penguin_ros.ros.callback_guard import CallbackGuard
from penguin_ros.ros.stop_signal import StopSignal

PAUSE_AFTER_FAULT_S = 0.01


class Spinning:
    """Used by the main thread."""

    def __init__(self, executor: SingleThreadedExecutor, guard: CallbackGuard) -> None:
        self._executor, self._guard = executor, guard

    def until_stopped(self, stop: StopSignal) -> None:
        """Returns when the process was asked to stop, or the context was shut down."""
        stop.on_stop(self._executor.wake)
        while not stop.is_set() and self._executor.context.ok():
            self._once(None)

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Returns whether the condition held within the time."""
        end = time.monotonic() + timeout_s
        while not condition() and self._executor.context.ok():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._once(min(left, 0.02))
        return condition()

    def _once(self, timeout_s: float | None) -> None:
        try:
            self._executor.spin_once(timeout_sec=timeout_s)
        except Exception as error:  # from rclpy itself, a client that is gone for example: callbacks have their own guard
            self._guard.report('the executor', error)
            time.sleep(PAUSE_AFTER_FAULT_S)
