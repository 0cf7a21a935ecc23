# SPDX-License-Identifier: Apache-2.0
"""Asks the core for captions by a steady timer per camera and publishes them on `~/caption`,
`~/last_caption` and `~/caption_text`.

Everything runs on the executor's thread; captions come from the worker's thread through the
executor queue.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from penguin_msgs.msg import Caption
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from penguin_ros.errors import (
    CaptionTooLate,
    Inactive,
    NoFrames,
    PenguinError,
    RequestReplaced,
    StaleFrames,
)
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer
from penguin_ros.ros.conversions.messages import caption_message
from penguin_ros.ros.conversions.qos_overrides import overriding_options
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue

CAPTION_TOPIC = '~/caption'
TEXT_TOPIC = '~/caption_text'
OVERRIDABLE_TOPICS = (CAPTION_TOPIC, TEXT_TOPIC)
"""Topics whose quality of service parameters may override."""
CAPTION_DEPTH = 10
LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LATENCIES_KEPT = 20
# For these reasons no caption is published, and none is missed: diagnostics say what happens.
_SILENT = (NoFrames, StaleFrames, RequestReplaced, Inactive, CaptionTooLate)


class CaptionPublisher:
    """Publishes captions between `start` and `stop`; its publishers live as long as the node.

    `published` counts captions, those with an error included.
    """

    def __init__(
        self,
        node: Node,
        executor_queue: ExecutorQueue,
        guard: CallbackGuard,
        is_enabled: Callable[[], bool],
    ) -> None:
        self.published = 0
        self.latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self.first_token_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self._node = node
        self._executor_queue = executor_queue
        self._guard = guard
        self._is_enabled = is_enabled
        self._caption = _overridable_publisher(node, Caption, CAPTION_TOPIC)
        self._last_caption = node.create_publisher(Caption, '~/last_caption', LATCHED_QOS)
        self._text = _overridable_publisher(node, String, TEXT_TOPIC)
        self._timers: list[Any] = []

    def start(self, pipeline: Pipeline, cameras: Sequence[str], period_s: float) -> None:
        """Asks for a caption of every camera each `period_s`; restarts when it runs already."""
        self.stop()
        group = ReentrantCallbackGroup()
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        for camera in cameras:
            tick = self._guard.wrap(functools.partial(self._request, pipeline, camera))
            self._timers.append(
                self._node.create_timer(period_s, tick, callback_group=group, clock=clock)
            )

    def stop(self) -> None:
        """Asks for no more captions."""
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._timers.clear()

    def _request(self, pipeline: Pipeline, camera: str) -> None:
        if not self._is_enabled():
            return
        start_ns = time.monotonic_ns()
        try:
            pipeline.submit_caption(
                camera,
                lambda answer: self._executor_queue.post(lambda: self._publish(answer, start_ns)),
            )
        except PenguinError as error:
            if not isinstance(error, _SILENT):
                raise

    def _publish(self, answer: Answer, start_ns: int) -> None:
        if answer.is_silent or isinstance(answer.error, _SILENT):
            return
        message = caption_message(answer)
        self._caption.publish(message)
        self.published += 1
        if message.state != Caption.ERROR:
            self._last_caption.publish(message)
            self._text.publish(String(data=message.text))
        if message.state not in (Caption.ERROR, Caption.UNCHANGED):
            self.latencies_ns.append(time.monotonic_ns() - start_ns)
            self.first_token_ns.append(answer.evidence.first_token_ns)


def _overridable_publisher(node: Node, kind: type, topic: str) -> Publisher:
    """Creates a publisher whose quality of service parameters may override.

    rclpy writes the overrides into the very profile that it is given, so each has its own.
    """
    return node.create_publisher(
        kind,
        topic,
        QoSProfile(depth=CAPTION_DEPTH),
        qos_overriding_options=overriding_options(),
    )
