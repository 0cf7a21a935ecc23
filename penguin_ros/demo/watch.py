# SPDX-License-Identifier: Apache-2.0
"""What a demo sees of its nodes: captions, one streamed answer, and whether captions name frames
that were published.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penguin_ros.console import GrowingText, print_line, status_line
from penguin_ros.demo.nodes import DemoNodes
from penguin_ros.errors import DeadlineExceeded
from penguin_ros.frame import to_nanoseconds
from penguin_ros.ros.client.message_dict import duration_seconds
from penguin_ros.ros.client.question_client import AskedQuestion, QuestionClient
from penguin_ros.ros.client.session import Session
from penguin_ros.ros.client.watcher import plain_lines

KEPT_IMAGES = 4096
DISCOVERY_S = 10.0
MARGIN_S = 1.0


@dataclass(frozen=True)
class DemoTopics:
    """The `nodes` of a demo, the full names of the penguin node and of the camera's topic, and when
    the demo ends (steady seconds).
    """

    nodes: DemoNodes
    node_name: str
    image_topic: str
    end: float


class DemoWatch:
    """Subscribes, asks and counts until the end. Belongs to the thread that spins the session."""

    def __init__(self, session: Session, topics: DemoTopics, question: str) -> None:
        from penguin_msgs.msg import Caption
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import CompressedImage

        self.session = session
        self.topics = topics
        self.question = question
        self.images: dict[int, bytes] = {}
        """JPEG data by stamp, of the newest KEPT_IMAGES."""
        self.captions: list[Any] = []
        self.answer: Any = None
        self._printed = 0
        session.node.create_subscription(
            CompressedImage,
            f'{topics.image_topic}/compressed',
            self._on_image,
            QoSProfile(depth=256),
        )
        session.node.create_subscription(
            Caption, f'{topics.node_name}/caption', self.captions.append, QoSProfile(depth=256)
        )

    @property
    def is_complete(self) -> bool:
        """Whether a caption and an answer arrived, both without error."""
        return any(not caption.error_code for caption in self.captions) and self.is_answered

    @property
    def is_answered(self) -> bool:
        """Whether an answer arrived without error."""
        return self.answer is not None and not self.answer.error_code

    def run(self) -> None:
        """Starts the nodes and returns when the time is over; NodeStopped when one ends before."""
        self.topics.nodes.camera.start()
        # The node comes second, so that every frame it can look at has been seen here.
        self._wait(lambda: bool(self.images), 'waiting for the camera')
        self.topics.nodes.penguin.start()
        self._wait(self.is_ready, 'waiting for the first caption')
        self._show_new()
        if self.is_ready():
            self._ask(self.chosen_question())
        self._wait(lambda: False, '')

    def is_ready(self) -> bool:
        """Whether there is something that the question can be about."""
        return bool(self.captions)

    def chosen_question(self) -> AskedQuestion:
        """The question that is asked once."""
        return AskedQuestion(self.question)

    def show_caption(self, caption: Any) -> None:
        """Prints a new caption."""
        print_line(plain_lines('caption', caption))

    def show_answer(self) -> None:
        """Prints the facts about the answer, whose text was printed as it grew."""
        if self.answer.error_code:
            print_line(self.answer.error_message)
            return
        evidence = self.answer.evidence
        first_token_s = duration_seconds(evidence.first_token_latency)
        print_line(f'   ({len(evidence.frames)} frames, first token after {first_token_s:.2f} s)')

    def print_summary(self) -> None:
        """Prints the counts, and how many of the frames that captions name were seen on the
        topic.
        """
        good = [caption for caption in self.captions if not caption.error_code]
        stamps = {
            to_nanoseconds(frame.stamp) for caption in good for frame in caption.evidence.frames
        }
        seen = len(stamps & set(self.images))
        answered = 'one answer' if self.is_answered else 'no answer'
        print_line(
            f'{len(good)} captions and {answered}; {seen} of {len(stamps)} frames named as '
            "evidence were seen on the camera's topic"
        )

    def _on_image(self, message: Any) -> None:
        self.images[to_nanoseconds(message.header.stamp)] = bytes(message.data)
        while len(self.images) > KEPT_IMAGES:
            del self.images[next(iter(self.images))]

    def _wait(self, condition: Callable[[], bool], text: str) -> None:
        if text:
            status_line(text)
        while not condition() and time.monotonic() < self.topics.end:
            self.session.spin_until(
                condition, min(0.5, max(0.0, self.topics.end - time.monotonic()))
            )
            self._show_new()
            for process in (self.topics.nodes.camera, self.topics.nodes.penguin):
                process.check()

    def _show_new(self) -> None:
        for caption in self.captions[self._printed :]:
            self.show_caption(caption)
        self._printed = len(self.captions)

    def _ask(self, ask: AskedQuestion) -> None:
        """Asks and prints the answer as it grows. Captions that come meanwhile are printed after
        the answer, so that its stream stays in one piece.
        """
        print_line(f'\nQ: {ask.question}')
        print('A: ', end='', flush=True)
        stream = GrowingText()
        left = self.topics.end - time.monotonic() - MARGIN_S
        try:
            name = self.session.find_node(self.topics.node_name, min(DISCOVERY_S, max(0.1, left)))
            client = QuestionClient(self.session, name)
            self.answer = client.ask(
                AskedQuestion(ask.question, deadline_s=max(0.1, left), interval_ns=ask.interval_ns),
                stream.show,
                left + MARGIN_S,
            )
        except DeadlineExceeded as error:
            stream.finish('')
            status_line(str(error))
            return
        stream.finish(self.answer.text)
        self.show_answer()
        print_line('')
