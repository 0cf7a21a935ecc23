# SPDX-License-Identifier: Apache-2.0
"""A callback group that leaves frames in the middleware until one is wanted.

Taking a raw frame costs far more than looking at it, so an `if` in the callback saves nothing. A
subscription in this group, with KEEP_LAST depth 1, is not even waited for between two samples; the
middleware keeps the newest frame meanwhile. This works with executors that ask callback groups
(SingleThreadedExecutor, MultiThreadedExecutor), not with rclpy's EventsExecutor. Everything runs on
the executor's threads.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

from penguin_ros.frame_sampling import LiveSampler


class SamplingGate(MutuallyExclusiveCallbackGroup):
    """A callback group that is closed for everything but timers until the next sample is due."""

    def __init__(self, node: Node, sampler: LiveSampler) -> None:
        super().__init__()
        self._node = node
        self._sampler = sampler
        # An executor looks at its callback groups only when something wakes it.
        self._alarm: Timer = node.create_timer(
            sampler.period_ns / 1e9,
            self._ring,
            callback_group=self,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._alarm.cancel()

    def can_execute(self, entity: Any) -> bool:
        """Returns whether the executor may wait for and run `entity` now."""
        return bool(super().can_execute(entity)) and (
            isinstance(entity, Timer) or self._sampler.is_due()
        )

    def close_until_due(self) -> None:
        """Closes the gate; to be called by the callback that took a frame."""
        self._sampler.take()
        self._set_alarm()

    def set_rate(self, rate_hz: float) -> None:
        """Changes the rate from now on."""
        self._sampler.set_rate(rate_hz)
        self._set_alarm()

    def destroy(self) -> None:
        """Frees the timer."""
        self._node.destroy_timer(self._alarm)

    def _set_alarm(self) -> None:
        self._alarm.timer_period_ns = max(1, self._sampler.until_due_ns())
        self._alarm.reset()

    def _ring(self) -> None:
        """Stops the alarm, whose purpose was to wake the executor; a gate that stays open, because
        no frame comes, needs no more of it.
        """
        self._alarm.cancel()
