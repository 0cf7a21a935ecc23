# SPDX-License-Identifier: Apache-2.0
"""A pipeline on a scripted backend and two clocks that stand still until they are turned."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support.stepped_jobs import LIVENESS_SECONDS, FakeClock

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import ModelConfig, PenguinConfig
from penguin_ros.frame import Frame
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Interval, Request, TextPiece
from penguin_ros.settings import with_values
from penguin_ros.testing.scripted_backend import ScriptedBackend, answering

MS = 1_000_000
SECOND = 1000 * MS
START = 1_700_000_000 * SECOND
TEXT = 'A bear walks over the ice.'


class Gate:
    """Holds the worker before a step of the backend, from `close(step)` until `open()`; `arrived`
    is set when it stands there.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed_for: str | None = None
        self._is_standing = False

    def close(self, step: str) -> None:
        with self._changed:
            self._closed_for = step

    def open(self) -> None:
        with self._changed:
            self._closed_for = None
            self._changed.notify_all()

    def wait_arrived(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_standing, LIVENESS_SECONDS)

    def pass_through(self, step: str) -> None:
        with self._changed:
            if step == self._closed_for:
                self._is_standing = True
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: self._closed_for is None, LIVENESS_SECONDS)
                self._is_standing = False


class LivePipeline:
    """`pipeline` with what it delivered: `answers` and `pieces` by id, ids in the order in which
    they `ended`. `steady_ns`: another steady clock than one that stands still.

    `logged`: exceptions; `steps`: of the backend; `in_step` is called in each.
    """

    def __init__(
        self,
        checkpoint: Path,
        cameras: tuple[str, ...] = ('front',),
        text: str = TEXT,
        steady_ns: Callable[[], int] | None = None,
        **values: Any,
    ) -> None:
        self.now, self.steady, self.gate = FakeClock(), FakeClock(), Gate()
        self.now.turn(START)
        self.text = text
        self.in_step: Callable[[str], None] = lambda step: None
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.pieces: dict[str, list[TextPiece]] = defaultdict(list)
        self.ended: list[str] = []
        self.steps: list[str] = []
        self.logged: list[BaseException] = []
        self._changed = threading.Condition()
        settings = {
            'model.checkpoint': str(checkpoint),
            'visual.max_visual_tokens': 512,
            'clip.precompute': 'off',  # its steps come when they like
            **{name.replace('__', '.'): value for name, value in values.items()},
        }
        self.config = with_values(PenguinConfig(), settings)
        self.backend: ScriptedBackend | None = None
        self.pipeline = Pipeline(
            self.config,
            cameras,
            now_ns=self.now,
            steady_ns=steady_ns or self.steady,
            backend_factory=self._make_backend,
            log=lambda what, error: self.logged.append(error),
        )

    def __enter__(self) -> LivePipeline:
        self.facts = self.pipeline.open()
        self.pipeline.activate()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.open()
        assert self.pipeline.close(LIVENESS_SECONDS)

    def frames(
        self, *milliseconds: int, camera: str = 'front', size: tuple[int, int] = (56, 84)
    ) -> None:
        """Frames at these times after START, each seen when it was taken."""
        for ms in milliseconds:
            late_ns = START + ms * MS - self.now()
            self.now.turn(max(0, late_ns))
            image = np.full((*size, 3), 100 + ms // 100 % 100, np.uint8)
            self.pipeline.add_frame(Frame(START + ms * MS, image, camera, f'{camera}_optical'))

    def ask(self, request_id: str = 'q', text: str = 'What is there?', **facts: Any) -> str:
        ticket = self.pipeline.submit(
            Request(request_id, text, **facts), self.take, self.pieces[request_id].append
        )
        return ticket.id

    def answer(self, request_id: str = 'q', text: str = 'What is there?', **facts: Any) -> Answer:
        return self.wait(self.ask(request_id, text, **facts))

    def caption(self, camera: str = 'front') -> str:
        return self.pipeline.submit_caption(camera, self.take).id

    def take(self, answer: Answer) -> None:
        with self._changed:
            self.answers[answer.id].append(answer)
            self.ended.append(answer.id)
            self._changed.notify_all()

    def wait(self, request_id: str) -> Answer:
        with self._changed:
            assert self._changed.wait_for(lambda: self.answers[request_id], LIVENESS_SECONDS), (
                f'no answer to {request_id}'
            )
            return self.answers[request_id][-1]

    def _make_backend(self, config: ModelConfig, model: Checkpoint | Bundle) -> ScriptedBackend:
        self.backend = answering(self.text, on_step=self._step)(config, model)
        return self.backend

    def _step(self, step: str) -> None:
        self.steps.append(step)
        self.gate.pass_through(step)
        self.in_step(step)


def past(start_ms: int, end_ms: int) -> Interval:
    """An interval in milliseconds after START."""
    return Interval(START + start_ms * MS, START + end_ms * MS)


def offsets(answer: Answer) -> list[int]:
    """Stamps of the frames of an answer, in milliseconds after START."""
    return [(frame.stamp_ns - START) // MS for frame in answer.evidence.frames]
