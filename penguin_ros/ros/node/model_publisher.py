# SPDX-License-Identifier: Apache-2.0
"""Publishes `~/model_info`: after each configure, and when a remote engine has said something new
of itself. Executor's thread.
"""

from __future__ import annotations

from collections.abc import Callable

from penguin_msgs.msg import ModelInfo
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from penguin_ros.config import PenguinConfig
from penguin_ros.pipeline_status import PipelineStatus
from penguin_ros.ros.node.captions import LATCHED_QOS
from penguin_ros.ros.node.snapshot import model_info_message
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.text import cleaned

PERIOD_S = 1.0


class ModelPublisher:
    """`status` returns that of the pipeline, None while there is none; `config` the settings of
    now.
    """

    def __init__(
        self,
        node: Node,
        guard: CallbackGuard,
        status: Callable[[], PipelineStatus | None],
        config: Callable[[], PenguinConfig],
    ) -> None:
        self._status = status
        self._config = config
        self._published: ModelInfo | None = None
        self._publisher = node.create_publisher(ModelInfo, '~/model_info', LATCHED_QOS)
        node.create_timer(
            PERIOD_S,
            guard.wrap(self._refresh),
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def publish(self) -> None:
        """Publishes what runs now, where something does."""
        status = self._status()
        if status is None or status.model is None:
            return
        budget = self._config().visual.max_visual_tokens
        self._published = model_info_message(status.model, budget, status.remote)
        self._publisher.publish(self._published)

    def _refresh(self) -> None:
        if self._published is None:
            return
        status = self._status()
        if status is None or status.model is None or status.remote is None:
            return
        models = [cleaned(each.model) for each in status.remote.endpoints]
        dialects = [each.dialect for each in status.remote.endpoints]
        said = self._published
        if [*said.endpoint_models] != models or [*said.endpoint_dialects] != dialects:
            self.publish()
