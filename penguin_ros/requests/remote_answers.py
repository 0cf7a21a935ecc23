# SPDX-License-Identifier: Apache-2.0
"""Which requests go to remote engines, which to the node's own model, and what became of them. Any
thread.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import RemoteError
from penguin_ros.pipeline_status import RemoteStatus
from penguin_ros.remote.dialects import PENGUIN
from penguin_ros.remote.endpoint import endpoints_of
from penguin_ros.remote.engine import RemoteEngines
from penguin_ros.request import Priority, Request
from penguin_ros.requests.answer_job import AnswerJob
from penguin_ros.requests.question_intake import TakenQuestion
from penguin_ros.requests.remote_job import Listeners, RemoteAnswerJob, RemoteContext
from penguin_ros.window.window_rules import WindowRules

START_MARGIN_S = 1.0


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What belongs to the whole pipeline: `config` returns the settings of now, `wake` has the
    scheduler look at its line; see Pipeline for the others.
    """

    config: Callable[[], PenguinConfig]
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    report: Callable[[str, BaseException], None]
    wake: Callable[[], None]


class RemoteAnswers:
    """The remote engines of one pipeline; SettingError when the setting of their endpoints does not
    fit.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stream = uuid.uuid4().hex[:12]
        config = surroundings.config().remote
        self.engines = RemoteEngines(
            endpoints_of(config.endpoints, config.allow_http),
            lambda: surroundings.config().remote,
            surroundings.steady_ns,
            surroundings.report,
        )

    def start(self) -> None:
        """Begins to watch the servers, and waits until each has answered or has had its time."""
        self.engines.start(self._surroundings.config().remote.connect_timeout + START_MARGIN_S)

    def close(self) -> None:
        """Ends all that is under way."""
        self.engines.close()

    def job(
        self,
        taken: TakenQuestion,
        rules: WindowRules,
        local: AnswerJob | None,
        listeners: Listeners,
    ) -> AnswerJob | RemoteAnswerJob:
        """Returns the job that answers a request; `local` is that of the own model, None without
        one. RemoteError when the settings leave nothing that can answer.
        """
        engine = engine_of(taken.request, rules.config)
        refusal = self._refusal(taken)
        if engine == 'local' and local is not None:
            return local
        if engine == 'auto' and local is not None:
            reason = refusal or self._hopelessness()
            if reason:
                with self._lock:
                    self._counts['stood_in'] += not refusal
                local.stand_in(reason)
                return local
        if engine == 'local' or refusal:
            raise RemoteError(
                refusal or 'the model of this node was to answer, and it has none',
                f'the engine is {engine}',
                'Set model.bundle or model.checkpoint, and the engine to auto or local',
            )
        return RemoteAnswerJob(
            taken, self._context(rules), listeners, local if engine == 'auto' else None
        )

    def is_taking_all(self, config: PenguinConfig) -> bool:
        """True while captions and questions go to servers, so that nothing need be computed here
        ahead of them.
        """
        engines = config.question.engine, config.caption.engine
        return 'local' not in engines and self.engines.is_hopeful

    def status(self) -> RemoteStatus:
        """Returns a snapshot."""
        counts = self._counts
        return RemoteStatus(
            endpoints=self.engines.status(),
            answered=counts['answered'],
            failed=counts['failed'],
            stood_in=counts['stood_in'] + counts['fallbacks'],
            captions_late=counts['captions_late'],
        )

    def _refusal(self, taken: TakenQuestion) -> str:
        """Returns why only the own model can answer; '' when servers can."""
        request = taken.request
        if request.wants_logprobs:
            return 'only the model of the node tells probabilities of tokens'
        if request.dialogue:
            return 'only the model of the node takes whole dialogues'
        if taken.conversation is not None:
            return 'only the model of the node keeps conversations'
        is_typed = bool(request.choices or request.json_schema)
        if is_typed and not any(each.dialect == PENGUIN for each in self.engines.status()):
            return 'no server speaks the dialect penguin, which has choices and schemas'
        return ''

    def _context(self, rules: WindowRules) -> RemoteContext:
        around = self._surroundings
        return RemoteContext(
            config=rules.config,
            engines=self.engines,
            rules=rules,
            now_ns=around.now_ns,
            steady_ns=around.steady_ns,
            stream=self._stream,
            wake=around.wake,
            counts=self._counts,
            report=around.report,
        )

    def _hopelessness(self) -> str:
        """Returns why no server is asked; '' when one may be."""
        if self.engines.is_hopeful:
            return ''
        return '; '.join(f'{each.name} left alone: {each.reason}' for each in self.engines.status())


def engine_of(request: Request, config: PenguinConfig) -> str:
    """Returns which engine the settings give a request to."""
    is_caption = request.priority is Priority.CAPTION
    return config.caption.engine if is_caption else config.question.engine


def needs_own_model(config: PenguinConfig) -> bool:
    """False when the settings name servers for everything, and no model."""
    return bool(
        'local' in (config.question.engine, config.caption.engine)
        or config.model.bundle
        or config.model.checkpoint
    )
