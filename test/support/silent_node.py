# SPDX-License-Identifier: Apache-2.0
"""A node that stands in for a penguin node where a test needs one that says what the test wants, or
is silent; nothing here is a claim about the real one.
"""

from __future__ import annotations

import threading
from typing import Any

from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import CameraStatus, Event, Status
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

WAIT_S = 60.0


class SilentNode:
    """Has topics and the action of a penguin node, and answers nothing before `ended`."""

    def __init__(self, context: Any) -> None:
        self.may_accept = threading.Event()
        self.accepted, self.cancelled = threading.Event(), threading.Event()
        self.ended = threading.Event()
        self._has_left = False
        self.node = Node('penguin', context=context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.node.create_publisher(Status, '~/status', latched)
        self.event = self.node.create_publisher(Event, '~/event', 10)
        self._action = ActionServer(
            self.node,
            AnswerQuestion,
            '~/answer_question',
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=ReentrantCallbackGroup(),
        )
        self._executor = MultiThreadedExecutor(4, context=context)
        self._executor.add_node(self.node)
        threading.Thread(target=self._executor.spin, daemon=True).start()

    def _on_goal(self, goal: Any) -> Any:
        self.may_accept.wait(WAIT_S)
        return GoalResponse.ACCEPT

    def _on_cancel(self, goal: Any) -> Any:
        self.cancelled.set()
        return CancelResponse.ACCEPT

    def _execute(self, goal: Any) -> Any:
        self.accepted.set()
        goal.publish_feedback(AnswerQuestion.Feedback(text='a'))
        self.ended.wait(WAIT_S)
        goal.abort()
        return AnswerQuestion.Result()

    def say(self, camera: str, topic: str) -> None:
        """Publishes a status that names the topic of a camera."""
        self._status.publish(Status(cameras=[CameraStatus(name=camera, topic=topic)]))

    def leave(self) -> None:
        """Leaves the graph; harmless when it has."""
        if self._has_left:
            return
        self._has_left = True
        self.ended.set()
        self.may_accept.set()
        self._executor.shutdown(timeout_sec=5.0)
        self._action.destroy()
        self.node.destroy_node()
