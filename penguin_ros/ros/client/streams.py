# SPDX-License-Identifier: Apache-2.0
"""What comes bit by bit, as iterators: an answer while it grows, captions, events."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from penguin_ros.errors import DeadlineExceeded, Inactive, PenguinError
from penguin_ros.ros.client.question_client import PendingAnswer
from penguin_ros.ros.client.results import Answer, answer_of
from penguin_ros.ros.client.session import Session

Item = TypeVar('Item')
DEPTH = 256
"""So many messages wait to be taken; then the oldest ones are dropped and counted."""


def checked_answer(message: Any) -> Answer:
    """Returns a penguin_msgs/Answer as a value; the error that it tells is raised by its name."""
    from penguin_ros.ros.conversions.error_codes import named_error

    if message.error_code:
        raise named_error(message.error_code, message.error_message)
    return answer_of(message)


class AnswerStream(Iterator[str]):
    """Yields the pieces of an answer as they come. `text` is what was yielded, `answer` the whole
    answer with its evidence. Closing it early has the node give the question up.
    """

    def __init__(
        self,
        session: Session,
        begin: Callable[[Callable[[str], None]], PendingAnswer],
        timeout_s: float,
    ) -> None:
        self.text = ''
        self._session = session
        self._newest = ''  # all of it, so that what is not read in time is one text, not a queue
        self._answer: Answer | None = None
        self._end = time.monotonic() + timeout_s
        self._is_closed = False
        self._pending = begin(self._on_text)

    @property
    def answer(self) -> Answer:
        """Returns the whole answer, whose pieces are read first where they were not."""
        for _ in self:
            pass
        if self._answer is None:
            raise Inactive('the stream was closed before its end', '', 'Read it to its end')
        return self._answer

    def close(self) -> None:
        """Ends the stream; a question that is not answered is cancelled."""
        if not self._is_closed and self._answer is None:
            with suppress(Inactive):  # the client is closed: it has cancelled already
                self._session.spin_until(self._is_cancelled, 0.0)
        self._is_closed = True

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __next__(self) -> str:
        while not self._is_closed:
            if len(self._newest) > len(self.text):
                piece = self._newest[len(self.text) :]
                self.text += piece
                return piece
            if self._answer is not None:
                break
            self._advance()
        raise StopIteration

    def _advance(self) -> None:
        """Waits until there is more, or the end."""
        try:
            is_there = self._session.spin_until(self._has_more, self._end - time.monotonic())
            if not is_there:
                raise DeadlineExceeded('the answer is not complete', 'the time to wait is over')
            if self._pending.is_done():
                self._answer = checked_answer(self._pending.answer())
                self._newest = self._answer.text
        except (PenguinError, KeyboardInterrupt):
            self.close()
            raise

    def _is_cancelled(self) -> bool:
        if not self._pending.is_done():
            self._pending.cancel()
        return True

    def _has_more(self) -> bool:
        return len(self._newest) > len(self.text) or self._pending.is_done()

    def _on_text(self, text: str) -> None:
        if self._answer is None:
            self._newest = text


class MessageStream(Iterator[Item], Generic[Item]):
    """Yields the messages of a topic as values, until `seconds` are over or it is closed.

    At most DEPTH of them wait to be taken; `dropped` counts those that were not taken in time.
    """

    def __init__(
        self,
        session: Session,
        kind: type,
        topic: str,
        value: Callable[[Any], Item],
        seconds: float = math.inf,
    ) -> None:
        from rclpy.qos import QoSProfile

        self.dropped = 0
        self._session = session
        self._value = value
        self._waiting: deque[Any] = deque()
        self._end = time.monotonic() + seconds
        self._is_closed = False
        self._subscription = session.do(
            lambda: session.node.create_subscription(
                kind, topic, self._on_message, QoSProfile(depth=DEPTH)
            )
        )

    def next_within(self, timeout_s: float) -> Item | None:
        """Returns the next one, None when none comes in time or the stream has ended."""
        left_s = min(timeout_s, self._end - time.monotonic())
        self._session.spin_until(lambda: bool(self._waiting) or self._is_closed, left_s)
        return self._value(self._waiting.popleft()) if self._waiting else None

    def close(self) -> None:
        """Ends the stream."""
        if not self._is_closed:
            self._is_closed = True
            self._session.do(lambda: self._session.node.destroy_subscription(self._subscription))

    def __enter__(self) -> MessageStream[Item]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __next__(self) -> Item:
        item = self.next_within(math.inf)
        if item is None:
            self.close()
            raise StopIteration
        return item

    def _on_message(self, message: Any) -> None:
        if len(self._waiting) == DEPTH:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(message)
