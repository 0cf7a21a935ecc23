# SPDX-License-Identifier: Apache-2.0
"""Asks a running node one question through its action and follows the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from penguin_ros.errors import DeadlineExceeded, Inactive, RequestCancelled
from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.client.node_clock import node_time_ns
from penguin_ros.ros.client.session import ACTION_NAME, Session

SERVER_TIMEOUT_S = 5.0
CANCEL_TIMEOUT_S = 5.0
GONE_S = 2.0
"""A node whose action is not to be found for so long is gone."""
# All clients of a node share the topics its responses travel on; at the default depth those of a
# flood push ours out.
DEPTH = 1000


@dataclass(frozen=True)
class AskedQuestion:
    """A question as typed.

    `last_seconds` above 0 asks about that stretch of the past up to now, `interval_ns` about the
    stretch between two stamps. `deadline_s` 0 leaves the node's default. `images` are JPEG or PNG
    data, or files of it, sent instead of a camera's frames. The others are fields of the same names
    in penguin_msgs/Question.
    """

    question: str
    camera: str = ''
    last_seconds: float = 0.0
    images: Sequence[Path | bytes] = ()
    max_tokens: int = 0
    deadline_s: float = 0.0
    interval_ns: tuple[int, int] | None = None
    choices: Sequence[str] = ()
    json_schema: str = ''
    logprobs: bool = False
    conversation: str = ''
    forget_conversation: bool = False


class TextTold:
    """Tells the text so far; an error of the program that is told is kept, since what spins the
    node must go on.
    """

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.failure: Exception | None = None
        self._on_text = on_text

    def __call__(self, message: Any) -> None:
        """Takes a feedback message."""
        if self.failure is None:
            try:
                self._on_text(message.feedback.text)
            except Exception as error:  # whoever waits for the answer gets it
                self.failure = error


class PendingAnswer:
    """A question that was taken; used by the thread that waits for its answer."""

    def __init__(
        self,
        session: Session,
        node_name: str,
        handle: Any,
        is_there: Callable[[], bool],
        told: TextTold,
    ) -> None:
        self._session = session
        self._node_name = node_name
        self._handle = handle
        self._told = told
        self._is_there = is_there
        self._last_there = time.monotonic()
        self._result = session.do(handle.get_result_async)

    def is_done(self) -> bool:
        """Returns whether the answer is there, or none will come: the node is gone, or whoever is
        told the text has failed.
        """
        if self._told.failure is not None:
            return True
        if self._is_there():
            self._last_there = time.monotonic()
        return bool(self._result.done()) or time.monotonic() - self._last_there > GONE_S

    def answer(self) -> Any:
        """Returns the penguin_msgs/Answer of a question that is done; Inactive when the node went
        away, RequestCancelled when there is none for another cause. What the program itself raised
        when it was told the text is raised here, and the node gives the question up.
        """
        if self._told.failure is not None:
            if not self._result.done():
                self.cancel()
            raise self._told.failure
        if not self._result.done():
            raise Inactive(f'{self._node_name} went away', 'it no longer runs', 'Start it again')
        _check(self._result, self._node_name)
        return self._result.result().result.answer

    def cancel(self) -> Any:
        """Has the node give the question up, whose answer still comes, with an error. Returns a
        future that is done when the node knows.
        """
        return self._session.do(self._handle.cancel_goal_async)

    def wait(self, timeout_s: float) -> Any:
        """Waits for the answer and returns it; gives the question up when the waiting is."""
        try:
            _wait(self._session, self.is_done, self._node_name, timeout_s)
        except (KeyboardInterrupt, DeadlineExceeded, RequestCancelled):
            cancelled = self.cancel()
            with suppress(RequestCancelled):
                self._session.spin_until(cancelled.done, CANCEL_TIMEOUT_S)
            raise
        return self.answer()


class QuestionClient:
    """Talks to the action of one node; used by threads that wait for the session."""

    def __init__(self, session: Session, node_name: str) -> None:
        from penguin_msgs.action import AnswerQuestion
        from rclpy.action import ActionClient
        from rclpy.qos import QoSProfile

        self._session = session
        self._node_name = node_name
        self._pending: WeakSet[PendingAnswer] = WeakSet()
        deep = QoSProfile(depth=DEPTH)
        self._client = session.do(
            lambda: ActionClient(
                session.node,
                AnswerQuestion,
                f'{node_name}/{ACTION_NAME}',
                goal_service_qos_profile=deep,
                result_service_qos_profile=deep,
                cancel_service_qos_profile=deep,
            )
        )

    def ask(self, ask: AskedQuestion, on_text: Callable[[str], None], timeout_s: float) -> Any:
        """Asks and returns the penguin_msgs/Answer; an interrupt cancels the question.

        `on_text` gets the whole text so far, some steps may be missing. DeadlineExceeded when no
        answer came within `timeout_s`, Inactive when the node takes no goals.
        """
        return self.begin(ask, on_text, timeout_s).wait(timeout_s)

    def begin(
        self, ask: AskedQuestion, on_text: Callable[[str], None], timeout_s: float
    ) -> PendingAnswer:
        """Asks and returns as soon as the node has taken the question; see `ask`."""
        if not self._session.spin_until(self._client.server_is_ready, SERVER_TIMEOUT_S):
            raise Inactive(
                f'{self._node_name} does not answer',
                'its action server is not ready',
                'Type: penguin doctor',
            )
        wanted = question_goal(ask, partial(node_time_ns, self._session, self._node_name))
        told = TextTold(on_text)
        sent = self._session.do(
            lambda: self._client.send_goal_async(wanted, feedback_callback=told)
        )
        self._wait_until_taken(sent, timeout_s)
        _check(sent, self._node_name)
        handle = sent.result()
        if not handle.accepted:
            raise Inactive(
                f'{self._node_name} refused the question',
                'it is not active',
                f'Type: ros2 lifecycle set {self._node_name} activate',
            )
        pending = PendingAnswer(
            self._session, self._node_name, handle, self._client.server_is_ready, told
        )
        self._pending.add(pending)
        return pending

    def _wait_until_taken(self, sent: Any, timeout_s: float) -> None:
        """Waits until the node has taken a question; one that it takes after the waiting was given
        up is cancelled then.
        """
        try:
            _wait(self._session, sent.done, self._node_name, timeout_s)
        except (KeyboardInterrupt, DeadlineExceeded, RequestCancelled) as reason:
            self._session.do(lambda: sent.add_done_callback(cancel_when_taken))
            if isinstance(reason, KeyboardInterrupt):  # the program ends, and nobody spins then
                self._session.spin_until(sent.done, CANCEL_TIMEOUT_S)
            raise

    def give_up(self, timeout_s: float) -> None:
        """Has the node give up whatever is not answered yet, for at most `timeout_s`."""
        cancelled = [each.cancel() for each in list(self._pending) if not each.is_done()]
        self._session.spin_until(lambda: all(each.done() for each in cancelled), timeout_s)


def cancel_when_taken(sent: Any) -> None:
    """Cancels a question for which nobody waits any more; `sent` is the future of its sending."""
    handle = None if sent.exception() is not None else sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()


def question_goal(ask: AskedQuestion, now_ns: Callable[[], int]) -> Any:
    """Returns the goal of the action for a question; `now_ns` tells the node's time."""
    from penguin_msgs.action import AnswerQuestion

    from penguin_ros.ros.conversions.times import duration_message, time_message

    message = AnswerQuestion.Goal(
        question=ask.question,
        camera=ask.camera,
        max_tokens=ask.max_tokens,
        images=[_compressed_image(image) for image in ask.images],
        deadline=duration_message(round(ask.deadline_s * NANOSECONDS)),
        choices=list(ask.choices),
        json_schema=ask.json_schema,
        logprobs=ask.logprobs,
        conversation=ask.conversation,
        forget_conversation=ask.forget_conversation,
    )
    interval_ns = ask.interval_ns
    if interval_ns is None and ask.last_seconds > 0:
        end_ns = now_ns()
        interval_ns = max(0, end_ns - round(ask.last_seconds * NANOSECONDS)), end_ns
    if interval_ns is not None:
        message.has_interval = True
        message.start, message.end = (time_message(time_ns) for time_ns in interval_ns)
    return message


def _wait(session: Session, is_done: Callable[[], bool], node_name: str, timeout_s: float) -> None:
    if not session.spin_until(is_done, timeout_s):
        raise DeadlineExceeded(
            f'no answer from {node_name}',
            f'waited {timeout_s:g} s',
            'penguin watch shows what it does',
        )


def _check(future: Any, node_name: str) -> None:
    if future.exception() is not None:
        raise RequestCancelled(f'the question to {node_name} failed', str(future.exception()))


def _compressed_image(image: Path | bytes) -> Any:
    import array

    from sensor_msgs.msg import CompressedImage

    if isinstance(image, bytes):
        return CompressedImage(
            format='png' if image[:4] == b'\x89PNG' else 'jpeg', data=array.array('B', image)
        )
    return CompressedImage(
        format=image.suffix.lstrip('.').lower(), data=array.array('B', image.read_bytes())
    )
