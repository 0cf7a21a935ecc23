# SPDX-License-Identifier: Apache-2.0
"""What the demo's watcher sees: captions, one streamed answer, and whether captions name frames that were published."""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from penguin_ros.cli.ask import GrowingText
from penguin_ros.cli.node_process import NodeProcess
from penguin_ros.cli.terminal import print_line, status_line
from penguin_ros.cli.watch import plain_lines
from penguin_ros.errors import DeadlineExceeded
from penguin_ros.ros.message_records import seconds, stamp_ns
from penguin_ros.ros.question_client import Ask, QuestionClient
from penguin_ros.ros.session import Session

KEPT_STAMPS = 4096
DISCOVERY_S = 10.0
MARGIN_S = 1.0


class DemoWatch:
    """Subscribes, asks and counts until `end` (seconds of the steady clock). Used by the thread that spins the session."""

    def __init__(self, session: Session, node_name: str, image_topic: str, camera: NodeProcess, penguin: NodeProcess,
                 end: float) -> None:
        from penguin_msgs.msg import Caption
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import CompressedImage
        self._session, self._node_name, self._end = session, node_name, end
        self._camera, self._penguin = camera, penguin
        self._published: deque[int] = deque(maxlen=KEPT_STAMPS)
        self._captions: list[Any] = []
        self._printed = 0
        self._answer: Any = None
        session.node.create_subscription(CompressedImage, f'{image_topic}/compressed',
                                         lambda message: self._published.append(stamp_ns(message.header.stamp)),
                                         QoSProfile(depth=256))
        session.node.create_subscription(Caption, f'{node_name}/caption', self._captions.append, QoSProfile(depth=256))

    @property
    def is_complete(self) -> bool:
        """A caption and an answer arrived, both without error."""
        return any(not caption.error_code for caption in self._captions) and self._is_answered

    @property
    def _is_answered(self) -> bool:
        return self._answer is not None and not self._answer.error_code

    def run(self, question: str) -> None:
        """Starts the nodes, returns at the end of the time; NodeStopped when one dies before."""
        self._camera.start()
        # The node comes second, so that every frame it can look at has been seen here.
        self._wait(lambda: bool(self._published), 'waiting for the camera')
        self._penguin.start()
        self._wait(lambda: bool(self._captions), 'waiting for the first caption')
        self._print_captions()
        if self._captions:
            self._ask(question)
        self._wait(lambda: False, '')

    def print_summary(self) -> None:
        """Counts, and how many stamps of the captions' frames were seen on the camera's topic."""
        good = [caption for caption in self._captions if not caption.error_code]
        stamps = {stamp_ns(frame.stamp) for caption in good for frame in caption.evidence.frames}
        seen = len(stamps & set(self._published))
        answered = 'one answer' if self._is_answered else 'no answer'
        print_line(f'{len(good)} captions and {answered}; {seen} of {len(stamps)} frames named as evidence '
                   'were seen on the camera\'s topic')

    def _wait(self, condition: Callable[[], bool], text: str) -> None:
        if text:
            status_line(text)
        while not condition() and time.monotonic() < self._end:
            self._session.spin_until(condition, min(0.5, max(0.0, self._end - time.monotonic())))
            self._print_captions()
            for process in (self._camera, self._penguin):
                process.check()

    def _print_captions(self) -> None:
        for caption in self._captions[self._printed:]:
            print_line(plain_lines('caption', caption))
        self._printed = len(self._captions)

    def _ask(self, question: str) -> None:
        """Captions that come meanwhile are printed after the answer, so that its stream stays in one piece."""
        print_line(f'\nQ: {question}')
        print('A: ', end='', flush=True)
        stream, left = GrowingText(), self._end - time.monotonic() - MARGIN_S
        try:
            name = self._session.find_node(self._node_name, min(DISCOVERY_S, left))
            ask = Ask(question, deadline_s=max(0.1, left))
            self._answer = QuestionClient(self._session, name).ask(ask, stream.show, left + MARGIN_S)
        except DeadlineExceeded as error:
            stream.finish('')
            status_line(str(error))
            return
        stream.finish(self._answer.text)
        evidence = self._answer.evidence
        print_line(self._answer.error_message if self._answer.error_code else
                   f'   ({len(evidence.frames)} frames, first token after {seconds(evidence.first_token_latency):.2f} s)\n')
