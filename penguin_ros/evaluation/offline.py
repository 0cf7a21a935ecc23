# SPDX-License-Identifier: Apache-2.0
"""A pipeline for verbs that ask one thing after the other about clips they bring. Knows no ROS and
no clock but the clips'.
"""

from __future__ import annotations

from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import PenguinError
from penguin_ros.frame import Frame
from penguin_ros.request import Answer, Interval, Request
from penguin_ros.settings import with_values

if TYPE_CHECKING:
    from penguin_ros.pipeline_status import ModelDescription

CAMERA = 'recording'
LONGEST_S = 86400.0


def offline(config: PenguinConfig) -> PenguinConfig:
    """A recording waits for the model, so no deadline applies and the buffer holds a clip and the
    frame after it.
    """
    return with_values(
        config,
        {
            'question.deadline': LONGEST_S,
            'question.max_tokens': config.caption.max_tokens,
            'buffer.seconds': min(LONGEST_S, config.clip.seconds * 2 + 1),
            'buffer.max_bytes': 2**40,
            'question.max_characters': 1000000,
        },
    )


class OfflineRunner:
    """A pipeline that answers one question after the other; its present is the newest frame it was
    given.
    """

    def __init__(self, config: PenguinConfig) -> None:
        self._config, self._now_ns, self._count = config, 0, 0
        self._interval = Interval(0, 0)
        from penguin_ros.pipeline import Pipeline  # not for the help of a verb

        self._pipeline = Pipeline(config, [CAMERA], now_ns=lambda: self._now_ns)
        self.facts: ModelDescription | None = None

    def __enter__(self) -> OfflineRunner:
        try:
            facts = self.facts = self._pipeline.open(progress=status_line)
            self._pipeline.activate()
        except BaseException:
            self._pipeline.close()
            raise
        status_line(f'{facts.name}: {facts.backend}, {facts.device}, {facts.precision}')
        return self

    def __exit__(self, *_: object) -> None:
        self._pipeline.close()

    def show(self, clip: Sequence[Frame]) -> None:
        """What is asked next is about these frames, of camera CAMERA, newer than all before."""
        for frame in clip:
            self._now_ns = frame.stamp_ns
            self._pipeline.add_frame(frame)
        self._interval = Interval(clip[0].stamp_ns, clip[-1].stamp_ns)

    def caption(self, clip: Sequence[Frame]) -> Answer:
        """Shows the clip; blocks until its caption is complete; Ctrl-C interrupts."""
        self.show(clip)
        return self.ask(self._config.caption.prompt)

    def ask(self, text: str) -> Answer:
        """Blocks until the answer about the clip shown last is complete; Ctrl-C interrupts."""
        answers: SimpleQueue[Answer] = SimpleQueue()
        self._count += 1
        request = Request(
            f'clip-{self._count}',
            text,
            camera=CAMERA,
            interval=self._interval,
            max_tokens=self._config.caption.max_tokens,
        )
        try:
            self._pipeline.submit(request, answers.put)
        except PenguinError as error:
            return Answer(request.id, request.text, CAMERA, '', error=error)
        while True:
            try:
                return answers.get(timeout=0.2)
            except Empty:
                continue
