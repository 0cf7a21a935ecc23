# SPDX-License-Identifier: Apache-2.0
"""Remote engines under test: what they are asked, and what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from penguin_ros.config import RemoteConfig
from penguin_ros.frame import Frame, FrameType
from penguin_ros.remote.endpoint import endpoints_of
from penguin_ros.remote.engine import RemoteCall, RemoteEngines
from penguin_ros.remote.line import EndpointStatus
from penguin_ros.remote.question import RemoteAnswer, RemoteFrame, RemoteQuestion

SECOND = 1_000_000_000
LIVENESS_SECONDS = 30.0


@dataclass
class Asked:
    """A question under way, with what came of it."""

    call: RemoteCall
    ended: threading.Event
    pieces: list[str]
    begin: float
    patience_s: float
    answers: list[RemoteAnswer] = field(default_factory=list)
    seconds: float = 0.0

    def wait(self) -> RemoteAnswer:
        assert self.ended.wait(self.patience_s), 'no end'
        return self.answers[-1]

    @property
    def cause(self) -> str:
        """The cause of the last failed attempt."""
        return self.wait().failed[-1].failure.cause


def clip_frames(count: int = 3, shade: int = 0) -> tuple[RemoteFrame, ...]:
    """Frames half a second apart, the first of them a key frame."""
    return tuple(
        RemoteFrame(
            Frame(
                1_700_000_000 * SECOND + number * SECOND // 2,
                np.full((120, 168, 3), (20 * number + shade) % 256, np.uint8),
            ),
            FrameType.INTERMEDIATE if number else FrameType.KEY,
            (56, 84) if number else (112, 168),
        )
        for number in range(count)
    )


def clip_question(first_s: float = 3.0, deadline_s: float = 6.0, **facts: Any) -> RemoteQuestion:
    now_ns = time.monotonic_ns()
    values: dict[str, Any] = {
        'id': 'q',
        'text': 'What is there?',
        'frames': clip_frames(),
        'camera': 'front',
        'is_clip': True,
        'is_caption': False,
        'is_truncated': False,
        'max_tokens': 20,
        'first_ns': now_ns + round(first_s * SECOND),
        'deadline_ns': now_ns + round(deadline_s * SECOND),
        'stream': 'robot/front',
        **facts,
    }
    return RemoteQuestion(**values)


class Asker:
    """Engines at these URLs, called a, b, c; `options` go behind each URL."""

    def __init__(self, urls: Sequence[str], settings: dict[str, Any], options: str = '') -> None:
        self.reported: list[BaseException] = []
        values: dict[str, Any] = {'check_period': 0.1, 'recovery': 0.2, **settings}
        options = values.pop('options', options)
        start_s = float(values.pop('start_s', LIVENESS_SECONDS))
        allow_http = bool(values.pop('allow_http', False))
        self.config = RemoteConfig(**values)
        text = ' '.join(f'{name}={url}{options}' for name, url in zip('abc', urls, strict=False))
        self.engines = RemoteEngines(
            endpoints_of(text, allow_http),
            lambda: self.config,
            time.monotonic_ns,
            lambda what, error: self.reported.append(error),
        )
        self.engines.start(start_s)

    def ask(self, question: RemoteQuestion | None = None, **facts: Any) -> Asked:
        ended, pieces, answers = threading.Event(), [], []  # type: ignore[var-annotated]
        begin = time.monotonic()
        asked: list[Asked] = []

        def take(answer: RemoteAnswer) -> None:
            answers.append(answer)
            ended.set()

        patience_s = LIVENESS_SECONDS + facts.get('deadline_s', 0.0)
        call = self.engines.ask(question or clip_question(**facts), pieces.append, take)
        asked.append(Asked(call, ended, pieces, begin, patience_s, answers))
        return asked[0]

    def answer(self, **facts: Any) -> RemoteAnswer:
        return self.ask(**facts).wait()

    @property
    def status(self) -> EndpointStatus:
        return self.engines.status()[0]

    def close(self) -> None:
        self.engines.close()
        assert self.reported == []
