# SPDX-License-Identifier: Apache-2.0
"""Asks a running node one question through its action and follows the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penguin_ros.errors import DeadlineExceeded, Inactive, RequestCancelled
from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.client.node_clock import node_time_ns
from penguin_ros.ros.client.session import ACTION_NAME, Session

SERVER_TIMEOUT_S = 5.0
CANCEL_TIMEOUT_S = 5.0
# All clients of a node share the topics its responses travel on; at the default depth those of a
# flood push ours out.
DEPTH = 1000


@dataclass(frozen=True)
class AskedQuestion:
    """A question as typed.

    `last_seconds` above 0 asks about that stretch of the past up to now, `interval_ns` about the
    stretch between two stamps. `deadline_s` 0 leaves the node's default. `images` are files of JPEG
    or PNG data, sent instead of a camera's frames. The others are fields of the same names in
    penguin_msgs/Question.
    """

    question: str
    camera: str = ''
    last_seconds: float = 0.0
    images: Sequence[Path] = ()
    max_tokens: int = 0
    deadline_s: float = 0.0
    interval_ns: tuple[int, int] | None = None
    choices: Sequence[str] = ()
    json_schema: str = ''
    logprobs: bool = False
    conversation: str = ''
    forget_conversation: bool = False


class QuestionClient:
    """Talks to the action of one node; used by the thread that spins the session."""

    def __init__(self, session: Session, node_name: str) -> None:
        from penguin_msgs.action import AnswerQuestion
        from rclpy.action import ActionClient
        from rclpy.qos import QoSProfile

        self._session = session
        self._node_name = node_name
        deep = QoSProfile(depth=DEPTH)
        self._client = ActionClient(
            session.node,
            AnswerQuestion,
            f'{node_name}/{ACTION_NAME}',
            goal_service_qos_profile=deep,
            result_service_qos_profile=deep,
            cancel_service_qos_profile=deep,
        )

    def ask(self, ask: AskedQuestion, on_text: Callable[[str], None], timeout_s: float) -> Any:
        """Asks and returns the penguin_msgs/Answer; an interrupt cancels the question.

        `on_text` gets the whole text so far, some steps may be missing. DeadlineExceeded when no
        answer came within `timeout_s`, Inactive when the node takes no goals.
        """
        handle = self._send(ask, on_text, timeout_s)
        result = handle.get_result_async()
        try:
            self._wait(result, timeout_s)
        except (KeyboardInterrupt, DeadlineExceeded):
            self._cancel(handle)
            raise
        return result.result().result.answer

    def _send(self, ask: AskedQuestion, on_text: Callable[[str], None], timeout_s: float) -> Any:
        """Sends the goal and returns its handle; Inactive when the node does not take it."""
        if not self._session.spin_until(self._client.server_is_ready, SERVER_TIMEOUT_S):
            raise Inactive(
                f'{self._node_name} does not answer',
                'its action server is not ready',
                'Type: penguin doctor',
            )
        sent = self._client.send_goal_async(
            self._goal(ask), feedback_callback=lambda message: on_text(message.feedback.text)
        )
        self._wait(sent, timeout_s)
        handle = sent.result()
        if not handle.accepted:
            raise Inactive(
                f'{self._node_name} refused the question',
                'it is not active',
                f'Type: ros2 lifecycle set {self._node_name} activate',
            )
        return handle

    def _cancel(self, handle: Any) -> None:
        cancelled = handle.cancel_goal_async()
        self._session.spin_until(cancelled.done, CANCEL_TIMEOUT_S)

    def _wait(self, future: Any, timeout_s: float) -> None:
        if not self._session.spin_until(future.done, timeout_s):
            raise DeadlineExceeded(
                f'no answer from {self._node_name}',
                f'waited {timeout_s:g} s',
                'penguin watch shows what it does',
            )
        if future.exception() is not None:
            raise RequestCancelled(
                f'the question to {self._node_name} failed', str(future.exception())
            )

    def _goal(self, ask: AskedQuestion) -> Any:
        from penguin_msgs.action import AnswerQuestion

        from penguin_ros.ros.conversions.times import duration_message, time_message

        goal = AnswerQuestion.Goal(
            question=ask.question,
            camera=ask.camera,
            max_tokens=ask.max_tokens,
            images=[_compressed_image(path) for path in ask.images],
            deadline=duration_message(round(ask.deadline_s * NANOSECONDS)),
            choices=list(ask.choices),
            json_schema=ask.json_schema,
            logprobs=ask.logprobs,
            conversation=ask.conversation,
            forget_conversation=ask.forget_conversation,
        )
        interval_ns = ask.interval_ns
        if interval_ns is None and ask.last_seconds > 0:
            now_ns = node_time_ns(self._session, self._node_name)
            interval_ns = max(0, now_ns - round(ask.last_seconds * NANOSECONDS)), now_ns
        if interval_ns is not None:
            goal.has_interval = True
            goal.start, goal.end = (time_message(time_ns) for time_ns in interval_ns)
        return goal


def _compressed_image(path: Path) -> Any:
    import array

    from sensor_msgs.msg import CompressedImage

    return CompressedImage(
        format=path.suffix.lstrip('.').lower(), data=array.array('B', path.read_bytes())
    )
