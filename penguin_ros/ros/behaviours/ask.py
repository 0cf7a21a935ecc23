# SPDX-License-Identifier: Apache-2.0
"""Asking as a behaviour: running until the answer is there, cancelled when the tree goes on without
it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from penguin_msgs.action import AnswerQuestion
from py_trees.behaviour import Behaviour
from py_trees.common import Access, Status

from penguin_ros.config import CaptionConfig
from penguin_ros.errors import Inactive, PenguinError, RequestCancelled
from penguin_ros.ros.client.ask_options import AskOptions, asked_question
from penguin_ros.ros.client.locked_action_client import LockedActionClient
from penguin_ros.ros.client.question_client import question_goal
from penguin_ros.ros.client.results import Answer
from penguin_ros.ros.client.session import ACTION_NAME
from penguin_ros.ros.client.streams import checked_answer

if TYPE_CHECKING:
    from typing_extensions import Unpack

TIMEOUT_S = 60.0


class Ask(Behaviour):
    """Asks a question each time that it is entered. SUCCESS with an answer, FAILURE with an error
    or after `timeout_s` (an option of the question), whose words are the feedback message.

    With `expected`, one of the choices or several, an answer succeeds only when it is among them
    with at least `min_probability`. On the blackboard, `key` holds the penguin_ros.client.Answer,
    also of one that was not expected, and None before there is one. The other options are those of
    a question of penguin_ros.client.
    """

    def __init__(
        self,
        name: str,
        question: str,
        *,
        penguin: str = '/penguin',
        key: str = 'answer',
        expected: str | Sequence[str] = (),
        min_probability: float = 0.0,
        **options: Unpack[AskOptions],
    ) -> None:
        super().__init__(name)
        self._asked, timeout_s = asked_question(question, options)
        self._timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        self._penguin = penguin
        self._key = key
        self._expected = (expected,) if isinstance(expected, str) else tuple(expected)
        self._min_probability = min_probability
        self._client: Any = None
        self._asking: _Asking | None = None
        self.blackboard = self.attach_blackboard_client(name=name)
        self.blackboard.register_key(key=key, access=Access.WRITE)

    def setup(self, **kwargs: Any) -> None:
        """Makes the client of the action on `node`, without waiting for its server."""
        self._node = kwargs['node']
        name = f'{self._penguin}/{ACTION_NAME}'
        self._client = LockedActionClient(self._node, AnswerQuestion, name)

    def initialise(self) -> None:
        """Forgets the last answer; the question is sent by the first tick that finds the server."""
        self.blackboard.set(self._key, None)
        self.feedback_message = f'waiting for {self._penguin}'
        self._asking = None
        self._end = time.monotonic() + self._timeout_s

    def update(self) -> Status:
        """Looks at how far the question is."""
        try:
            answer = self._advance()
        except PenguinError as error:
            self.feedback_message = f'{type(error).__name__}: {error}'
            return Status.FAILURE
        if answer is None:
            if time.monotonic() < self._end:
                return Status.RUNNING
            self.feedback_message = f'DeadlineExceeded: no answer within {self._timeout_s:g} s'
            return Status.FAILURE
        self.blackboard.set(self._key, answer)
        self.feedback_message = answer.text
        return Status.SUCCESS if self._is_expected(answer) else Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        """Cancels a question that is not answered."""
        if self._asking is not None:
            self._asking.cancel()

    def shutdown(self) -> None:
        """Ends the client; a question under way is cancelled."""
        if self._asking is not None:
            self._asking.abandon()
        if self._client is not None:
            self._client.destroy()
            self._client = None

    def _advance(self) -> Answer | None:
        """Sends the question once the server is there; returns the answer when it is there."""
        if self._asking is None:
            if not self._client.server_is_ready():
                return None
            now_ns = partial(_now_ns, self._node)
            self._asking = _Asking(self._client, question_goal(self._asked, now_ns), self._on_text)
            self.feedback_message = 'asked'
        message = self._asking.answer()
        return None if message is None else checked_answer(message)

    def _on_text(self, text: str) -> None:
        if self.status == Status.RUNNING:
            self.feedback_message = text

    def _is_expected(self, answer: Answer) -> bool:
        if not self._expected:
            return True
        share = answer.probabilities.get(answer.choice, 0.0)
        return answer.choice in self._expected and share >= self._min_probability


class Describe(Ask):
    """Has a penguin node describe what a camera shows, by the prompt of captions; see Ask."""

    def __init__(
        self,
        name: str,
        camera: str = '',
        *,
        penguin: str = '/penguin',
        key: str = 'description',
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__(
            name,
            CaptionConfig().prompt,
            penguin=penguin,
            key=key,
            camera=camera,
            timeout_s=timeout_s,
        )


class _Asking:
    """One question on its way; nothing here waits."""

    def __init__(self, client: LockedActionClient, message: Any, on_text: Any) -> None:
        self._is_cancelled = False
        self._is_abandoned = False
        self._result: Any = None
        self._sent = client.send_goal_async(
            message, feedback_callback=lambda told: on_text(told.feedback.text)
        )
        self._sent.add_done_callback(self._on_taken)

    def answer(self) -> Any:
        """Returns the penguin_msgs/Answer, None before it is there; Inactive when the node does not
        take the question.
        """
        if not self._sent.done():
            return None
        if self._sent.exception() is not None:
            raise RequestCancelled('the question failed', str(self._sent.exception()))
        if not self._sent.result().accepted:
            raise Inactive('the node refused the question', 'it is not active')
        is_answered = self._result is not None and self._result.done()
        return self._result.result().result.answer if is_answered else None

    def cancel(self) -> None:
        """Has the node give the question up, now or as soon as it has taken it."""
        self._is_cancelled = True
        if self._result is not None and not self._result.done():
            self._sent.result().cancel_goal_async()

    def abandon(self) -> None:
        """Cancels, and looks no more: the client will be gone."""
        self.cancel()
        self._is_abandoned = True

    def _on_taken(self, sent: Any) -> None:
        if self._is_abandoned or sent.exception() is not None:
            return
        if sent.result().accepted:
            self._result = sent.result().get_result_async()
            if self._is_cancelled:
                sent.result().cancel_goal_async()


def _now_ns(node: Any) -> int:
    return int(node.get_clock().now().nanoseconds)
