# SPDX-License-Identifier: Apache-2.0
"""The three entries for questions: topic `~/question`, service `~/ask`, action `~/answer_question`.

They run on the executor's thread. Their callbacks wait for answers, so they share a group in which
they do not wait for each other. What such a callback raises after it has waited reaches nobody in
some releases of rclpy, and its client gets no response: each turns it into an answer by itself.
"""

from __future__ import annotations

from typing import Any

from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import Answer, ErrorCode, Question
from penguin_msgs.srv import Ask
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from penguin_ros.ros.node.question_server import PendingQuestion, QuestionServer
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.distribution import is_humble

ENTRY_DEPTH = 1000
"""A service of the default depth forgets all but the last 10 requests that arrive together."""
RESULT_SECONDS = 60
"""How long the result of a goal is kept for a client that has not fetched it."""
_ENTRY_QOS = QoSProfile(depth=ENTRY_DEPTH)


class QuestionEndpoints:
    """Opens the entries; they answer INACTIVE while the node is not active.

    `longest_s` is how long a question may take.
    """

    def __init__(
        self, node: Node, question_server: QuestionServer, guard: CallbackGuard, longest_s: float
    ) -> None:
        self._question_server = question_server
        self._guard = guard
        self._goals: dict[bytes, PendingQuestion] = {}
        self._owed = 0
        group = ReentrantCallbackGroup()
        node.create_subscription(
            Question, '~/question', guard.wrap(self._on_question), _ENTRY_QOS, callback_group=group
        )
        node.create_service(
            Ask, '~/ask', self._on_ask, qos_profile=_ENTRY_QOS, callback_group=group
        )
        self._action = ActionServer(
            node,
            AnswerQuestion,
            '~/answer_question',
            self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=group,
            goal_service_qos_profile=_ENTRY_QOS,
            result_service_qos_profile=_ENTRY_QOS,
            cancel_service_qos_profile=_ENTRY_QOS,
            result_timeout=_result_timeout_s(longest_s),
        )

    @property
    def is_idle(self) -> bool:
        """True when no response and no result is owed."""
        return self._owed == 0

    def close(self) -> None:
        """Destroys the action server, the one entity that the node does not destroy by itself."""
        self._action.destroy()

    def _on_question(self, message: Question) -> None:
        self._question_server.start(message, is_open=True)

    async def _on_ask(self, request: Ask.Request, response: Ask.Response) -> Ask.Response:
        try:
            response.answer = await self._answer(self._question_server.start(request))
        except Exception as error:
            response.answer = self._question_server.fault_message(request.id, '~/ask', error)
        response.success = response.answer.error_code == ErrorCode.NONE
        response.message = response.answer.error_message
        return response

    async def _on_goal(self, goal: Any) -> AnswerQuestion.Result:
        try:
            answer = await self._goal_answer(goal)
        except Exception as error:
            answer = self._question_server.fault_message(
                goal.request.id, '~/answer_question', error
            )
        # Nothing may wait between the state and the result: some releases of rclpy put an empty
        # result in place with the state, which ours has to replace before it is sent.
        _end_goal(goal, answer)
        return AnswerQuestion.Result(answer=answer)

    async def _goal_answer(self, goal: Any) -> Answer:
        feedback = _Feedback(goal)
        pending = feedback.pending = self._question_server.start(
            goal.request, self._guard.wrap(feedback.publish)
        )
        key = bytes(goal.goal_id.uuid)
        self._goals[key] = pending
        try:
            if goal.is_cancel_requested:  # between its acceptance and now
                self._question_server.cancel(pending)
            return await self._answer(pending)
        finally:
            del self._goals[key]

    async def _answer(self, pending: PendingQuestion) -> Answer:
        self._owed += 1
        try:
            return await pending.future
        finally:
            self._owed -= 1

    def _on_cancel(self, goal: Any) -> CancelResponse:
        pending = self._goals.get(bytes(goal.goal_id.uuid))
        if pending is not None:
            self._question_server.cancel(pending)
        return CancelResponse.ACCEPT


class _Feedback:
    """Numbers the feedback of one goal; each message carries the whole text so far, since any may
    be lost.
    """

    def __init__(self, goal: Any) -> None:
        self.pending: PendingQuestion | None = None
        self._goal = goal
        self._sequence = 0
        self._text = ''

    def publish(self, text: str) -> None:
        """Publishes the text so far, which continues the one before.

        Between the request to cancel and the end of the goal nothing is published: rclpy since
        Lyrical drops that, with a warning for each.
        """
        if self._goal.is_cancel_requested:
            return
        identity = '' if self.pending is None else self.pending.id
        self._goal.publish_feedback(
            AnswerQuestion.Feedback(
                id=identity, sequence=self._sequence, text=text, piece=text[len(self._text) :]
            )
        )
        self._sequence += 1
        self._text = text


def _result_timeout_s(longest_s: float) -> float:
    """Returns how long results are kept.

    On Humble the time runs from the acceptance of a goal, so that the result of a slow one would be
    thrown away as it comes; on later distributions it runs from the goal's end.
    """
    return RESULT_SECONDS + (longest_s if is_humble() else 0.0)


def _end_goal(goal: Any, answer: Answer) -> None:
    """Sets the state: SUCCEEDED with an answer, CANCELED when the client asked for that, ABORTED
    with an error.
    """
    if answer.error_code == ErrorCode.NONE:
        goal.succeed()
    elif answer.error_code == ErrorCode.CANCELLED and goal.is_cancel_requested:
        goal.canceled()
    else:
        goal.abort()
