# SPDX-License-Identifier: Apache-2.0
"""Hands the questions of all three entries to the pipeline and publishes each one's answer on
`~/answer`.

It runs on the executor's thread. Texts and answers come over from the worker's thread through the
executor queue.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from penguin_msgs.msg import Answer as AnswerMessage
from penguin_msgs.msg import ErrorCode
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future

from penguin_ros.errors import PenguinError
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Evidence, TextPiece
from penguin_ros.ros.conversions.error_codes import error_message
from penguin_ros.ros.conversions.messages import answer_message, question_id, request_from
from penguin_ros.ros.node.lifecycle_advice import without_model
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue
from penguin_ros.text import cleaned

LATENCIES_KEPT = 20
MAX_ECHO_CHARACTERS = 256
"""Length of an id or a camera in the answer to a question that is refused, for that length say."""
STUCK_CHECK_S = 0.5
ANSWER_DEPTH = 1000
"""A burst of refusals must not push each other out before a subscriber has read them."""


@dataclass(eq=False)
class PendingQuestion:
    """A question under way. `future` gets the Answer message; `on_text` gets the text so far, of
    which some states may be left out. `is_open`: whoever asked reads the answer on the topic.
    """

    id: str
    question: str
    camera: str
    start_ns: int
    future: Future
    on_text: Callable[[str], None] | None = None
    text: str = ''
    is_text_posted: bool = False
    is_open: bool = False


class QuestionServer:
    """Starts, cancels and ends questions. `pipeline` is None while no model is loaded;
    `max_characters` returns how much of a question that is refused is repeated, `lifecycle_state`
    the label of the node's state.
    """

    def __init__(
        self,
        node: Node,
        executor_queue: ExecutorQueue,
        guard: CallbackGuard,
        max_characters: Callable[[], int],
        lifecycle_state: Callable[[], str],
    ) -> None:
        self.pipeline: Pipeline | None = None
        self.counts: Counter[str] = Counter()  # answered, refused, failed
        self.latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self.first_token_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self._node = node
        self._executor_queue = executor_queue
        self._guard = guard
        self._max_characters = max_characters
        self._lifecycle_state = lifecycle_state
        self._open: set[PendingQuestion] = set()
        self._publisher = node.create_publisher(
            AnswerMessage, '~/answer', QoSProfile(depth=ANSWER_DEPTH)
        )
        node.create_timer(
            STUCK_CHECK_S,
            guard.wrap(self._end_stuck),
            callback_group=ReentrantCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    @property
    def is_idle(self) -> bool:
        """True when no question is under way."""
        return not self._open

    def start(
        self,
        message: Any,
        on_text: Callable[[str], None] | None = None,
        is_open: bool = False,
    ) -> PendingQuestion:
        """Takes a Question, an Ask request or a goal; whatever is wrong with it is told in its
        answer. Only with `is_open` does the answer that everybody can read name its conversation.
        """
        pending = PendingQuestion(
            question_id(message),
            message.question,
            message.camera,
            time.monotonic_ns(),
            Future(executor=self._node.executor),
            on_text,
            is_open=is_open,
        )
        try:
            self._submit(pending, message)
            self._open.add(pending)
        except PenguinError as error:
            self._end(pending, self._unanswered(pending, error), 'refused')
        except Exception as error:
            self._guard.report('taking a question', error)
            fault = PenguinError(
                'the node failed to take the question', repr(error), 'The log has the details'
            )
            self._end(pending, self._unanswered(pending, fault), 'failed')
        return pending

    def cancel(self, pending: PendingQuestion) -> None:
        """Asks for an early end; harmless when the question has ended."""
        if self.pipeline is not None and pending in self._open:
            self.pipeline.cancel(pending.id)

    def abandon(self, error: PenguinError) -> None:
        """Ends everything under way here and now, without waiting for the worker."""
        for pending in list(self._open):
            self._end(pending, self._unanswered(pending, error), 'failed')

    def fault_message(self, identity: str, place: str, error: Exception) -> AnswerMessage:
        """Reports a fault of the node and returns the answer that a client gets for it."""
        self._guard.report(place, error)
        return AnswerMessage(
            id=cleaned(identity[:MAX_ECHO_CHARACTERS]),
            error_code=ErrorCode.INTERNAL,
            error_message=cleaned(error_message(error)),
        )

    def _end_stuck(self) -> None:
        if self.pipeline is not None:
            self.pipeline.end_stuck()

    def _submit(self, pending: PendingQuestion, message: Any) -> None:
        if self.pipeline is None:
            raise without_model(self._node.get_fully_qualified_name(), self._lifecycle_state())
        self.pipeline.submit(
            request_from(message, pending.id),
            lambda answer: self._executor_queue.post(lambda: self._answered(pending, answer)),
            (lambda piece: self._add_piece(pending, piece)) if pending.on_text else None,
        )

    def _add_piece(self, pending: PendingQuestion, piece: TextPiece) -> None:
        """Posts the text, on the worker's thread; at most one per question is on its way, the
        newest.
        """
        pending.text = piece.text
        if not pending.is_text_posted:
            pending.is_text_posted = True
            self._executor_queue.post(lambda: self._show(pending))

    def _show(self, pending: PendingQuestion) -> None:
        pending.is_text_posted = False
        if pending.on_text is not None and pending in self._open:
            pending.on_text(pending.text)

    def _answered(self, pending: PendingQuestion, answer: Answer) -> None:
        if not pending.future.done():
            self._end(pending, answer, 'failed' if answer.error is not None else 'answered')

    def _end(self, pending: PendingQuestion, answer: Answer, outcome: str) -> None:
        self._open.discard(pending)
        try:
            message = answer_message(answer)
        except Exception as error:
            outcome = 'failed'
            message = self.fault_message(pending.id, 'writing an answer', error)
        self.counts[outcome] += 1
        if outcome == 'answered':
            self.latencies_ns.append(time.monotonic_ns() - pending.start_ns)
            self.first_token_ns.append(answer.evidence.first_token_ns)
        pending.future.set_result(message)
        if message.conversation and not pending.is_open:
            message = answer_message(replace(answer, conversation=''))
        self._publisher.publish(message)

    def _unanswered(self, pending: PendingQuestion, error: PenguinError) -> Answer:
        limit = self._max_characters()
        return Answer(
            id=pending.id[:MAX_ECHO_CHARACTERS],
            question=pending.question[:limit],
            text=pending.text,
            error=error,
            camera=pending.camera[:MAX_ECHO_CHARACTERS],
            evidence=Evidence(is_truncated=len(pending.question) > limit),
        )
