# SPDX-License-Identifier: Apache-2.0
"""From a question in a message to the one answer it gets, whichever entry it came in by; every
answer goes out on `~/answer`.

Knows the core's front door, no services and no actions. Runs on the executor's thread; pictures are
decoded on a thread of their own, texts and answers come over from the worker's through the
executor_queue.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from penguin_msgs.msg import Answer as AnswerMessage
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future

from penguin_ros.config import PenguinConfig, QuestionConfig
from penguin_ros.errors import (
    Busy,
    DeadlineExceeded,
    DuplicateRequest,
    ImageTooLarge,
    Inactive,
    PenguinError,
    RequestCancelled,
    TooManyImages,
)
from penguin_ros.frame import Image
from penguin_ros.media.convert import message_to_rgb, reduced
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Evidence, TextPiece
from penguin_ros.ros.conversions.messages import answer_message, question_id, request_from
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue

LATENCIES_KEPT = 20
MAX_ECHO_CHARACTERS = 256  # of an id or a camera that is refused for its length, among other things
STUCK_CHECK_S = 0.5
ANSWER_DEPTH = (
    1000  # a burst of refusals must not push each other out before a subscriber has read them
)


@dataclass(eq=False)
class PendingQuestion:
    """A question under way. `future` gets the Answer; `on_text` gets the text so far, some steps
    may be left out.
    """

    message: Any
    future: Future
    on_text: Callable[[str], None] | None = None
    id: str = ''
    start_ns: int = 0
    is_submitted: bool = False
    is_decoding: bool = False
    text: str = ''
    is_text_posted: bool = False


class QuestionServer:
    """Starts, cancels and ends exchanges. `pipeline` is None while no model is loaded."""

    def __init__(
        self,
        node: Node,
        executor_queue: ExecutorQueue,
        guard: CallbackGuard,
        config: Callable[[], PenguinConfig],
    ) -> None:
        self.pipeline: Pipeline | None = None
        self.counts: Counter[str] = Counter()  # answered, refused, failed
        self.latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self.first_token_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self._node, self._executor_queue, self._guard, self._config = (
            node,
            executor_queue,
            guard,
            config,
        )
        self._open: dict[str, PendingQuestion] = {}
        self._publisher = node.create_publisher(
            AnswerMessage, '~/answer', QoSProfile(depth=ANSWER_DEPTH)
        )
        self._decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix='pictures')
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

    def start(self, message: Any, on_text: Callable[[str], None] | None = None) -> PendingQuestion:
        """Takes a Question, an Ask request or a goal; whatever is wrong with it ends in the
        exchange's answer.
        """
        pending = PendingQuestion(
            message, Future(executor=self._node.executor), on_text, start_ns=time.monotonic_ns()
        )
        self._attempt(pending, lambda: self._take(pending))
        return pending

    def cancel(self, pending: PendingQuestion) -> None:
        """Asks for an early end; harmless when it has ended."""
        if pending.future.done():
            return
        if not pending.is_submitted:
            self._end(
                pending,
                self._unanswered(pending, RequestCancelled(f'request {pending.id} was cancelled')),
                'failed',
            )
        elif self.pipeline is not None:
            self.pipeline.cancel(pending.id)

    def abandon(self, error: PenguinError) -> None:
        """Ends everything under way here and now, without waiting for the worker."""
        for pending in list(self._open.values()):
            self._end(pending, self._unanswered(pending, error), 'failed')

    def close(self) -> None:
        """No picture is decoded any more."""
        self._decoder.shutdown(wait=False, cancel_futures=True)

    def _end_stuck(self) -> None:
        if self.pipeline is not None:
            self.pipeline.end_stuck()

    def _attempt(self, pending: PendingQuestion, step: Callable[[], None]) -> None:
        try:
            step()
        except PenguinError as error:
            self._end(pending, self._unanswered(pending, error), 'refused')
        except Exception as error:
            self._guard.report('taking a question', error)
            fault = PenguinError(
                'the node failed to take the question', repr(error), 'The log has the details'
            )
            self._end(pending, self._unanswered(pending, fault), 'failed')

    def _take(self, pending: PendingQuestion) -> None:
        pending.id = question_id(pending.message)
        if pending.id in self._open:
            raise DuplicateRequest(
                f'request {pending.id} is queued or running',
                'an id names one request at a time',
                'Use another id, or leave it empty to get one',
            )
        if not pending.message.images:
            self._submit(pending, ())
            return
        self._check_images(pending.message.images, self._config().question)
        self._open[pending.id] = pending
        pending.is_decoding = True
        self._decoder.submit(self._decode, pending, self._config())

    def _check_images(self, images: Any, limits: QuestionConfig) -> None:
        if self.pipeline is None:
            raise _unconfigured()
        if len(images) > limits.max_images:
            raise TooManyImages(
                f'{len(images)} pictures', f'a question may carry {limits.max_images}'
            )
        size = sum(len(image.data) for image in images)
        if size > limits.max_image_bytes:
            raise ImageTooLarge(
                f'pictures of {size} bytes',
                f'a question may carry {limits.max_image_bytes} bytes',
                'Send fewer or smaller ones',
            )
        if sum(pending.is_decoding for pending in self._open.values()) >= limits.queue_length:
            raise Busy(
                f'{limits.queue_length} questions wait for their pictures to be decoded',
                '',
                'Ask again later',
            )

    def _decode(self, pending: PendingQuestion, config: PenguinConfig) -> None:
        """On the decoder's thread."""
        error: PenguinError | None = None
        images: tuple[Image, ...] = ()
        try:
            images = tuple(
                reduced(
                    message_to_rgb(image, config.buffer.max_image_pixels),
                    config.buffer.max_frame_pixels,
                )
                for image in pending.message.images
                if not pending.future.done()
            )
        except PenguinError as problem:
            error = problem
        except Exception as problem:
            self._guard.report('decoding pictures', problem)
            error = PenguinError(
                'the pictures could not be decoded', repr(problem), 'The log has the details'
            )
        self._executor_queue.post(
            lambda: self._attempt(pending, lambda: self._decoded(pending, images, error))
        )

    def _decoded(
        self, pending: PendingQuestion, images: tuple[Image, ...], error: PenguinError | None
    ) -> None:
        pending.is_decoding = False
        if pending.future.done():
            return
        if error is not None:
            raise error
        self._submit(pending, images)

    def _submit(self, pending: PendingQuestion, images: tuple[Image, ...]) -> None:
        if self.pipeline is None:
            raise _unconfigured()
        request = request_from(pending.message, pending.id, images)
        if images:
            # The deadline runs from receipt, and decoding took some of it.
            allowed_ns = request.deadline_ns or round(self._config().question.deadline * 1e9)
            left_ns = allowed_ns - (time.monotonic_ns() - pending.start_ns)
            if left_ns <= 0 < allowed_ns:
                raise DeadlineExceeded(
                    'the pictures took all the time there was', f'{allowed_ns / 1e9:.3f} s'
                )
            request = dataclasses.replace(request, deadline_ns=min(left_ns, allowed_ns))
        self.pipeline.submit(
            request,
            lambda answer: self._executor_queue.post(lambda: self._answered(pending, answer)),
            (lambda piece: self._grown(pending, piece)) if pending.on_text else None,
        )
        self._open[pending.id] = pending
        pending.is_submitted = True
        pending.message.images = []

    def _grown(self, pending: PendingQuestion, piece: TextPiece) -> None:
        """On the worker's thread: at most one text per exchange is on its way, the newest."""
        pending.text = piece.text
        if not pending.is_text_posted:
            pending.is_text_posted = True
            self._executor_queue.post(lambda: self._show(pending))

    def _show(self, pending: PendingQuestion) -> None:
        pending.is_text_posted = False
        if pending.on_text is not None and not pending.future.done():
            pending.on_text(pending.text)

    def _answered(self, pending: PendingQuestion, answer: Answer) -> None:
        if not pending.future.done():
            self._end(pending, answer, 'failed' if answer.error is not None else 'answered')

    def _end(self, pending: PendingQuestion, answer: Answer, outcome: str) -> None:
        if self._open.get(pending.id) is pending:
            del self._open[pending.id]
        self.counts[outcome] += 1
        if outcome == 'answered':
            self.latencies_ns.append(time.monotonic_ns() - pending.start_ns)
            self.first_token_ns.append(answer.evidence.first_token_ns)
        pending.future.set_result(answer)
        self._publisher.publish(answer_message(answer))

    def _unanswered(self, pending: PendingQuestion, error: PenguinError) -> Answer:
        question, limit = pending.message.question, self._config().question.max_characters
        return Answer(
            id=pending.id[:MAX_ECHO_CHARACTERS],
            question=question[:limit],
            text=pending.text,
            error=error,
            camera=pending.message.camera[:MAX_ECHO_CHARACTERS],
            evidence=Evidence(is_truncated=len(question) > limit),
        )


def _unconfigured() -> Inactive:
    return Inactive(
        'the node has no model loaded',
        'it is not configured',
        'ros2 lifecycle set <node> configure, then activate',
    )
