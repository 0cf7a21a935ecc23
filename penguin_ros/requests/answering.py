# SPDX-License-Identifier: Apache-2.0
"""What answers the requests of one pipeline: the node's own model, remote engines, or both.

`open` and `close` run on the worker thread, the rest on any.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import Inactive, PenguinError, RemoteError
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.request import Answer, TextPiece
from penguin_ros.requests.answer_job import AnswerJob, JobContext
from penguin_ros.requests.loaded_model import BackendFactory, LoadedModel, load_model
from penguin_ros.requests.question_intake import TakenQuestion
from penguin_ros.requests.remote_answers import RemoteAnswers, Surroundings, needs_own_model
from penguin_ros.requests.remote_frames import VIDEO_UNIT
from penguin_ros.requests.remote_job import Listeners, RemoteAnswerJob, no_model
from penguin_ros.window.window_rules import WindowRules

STARTED_JOBS = 3
"""So many jobs may be started at once where there are no KV slots."""


class Answering:
    """`model` and `remote` are None where there is none, or not yet."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.model: LoadedModel | None = None
        self.remote: RemoteAnswers | None = None
        self._surroundings = surroundings
        self._numbers = itertools.count()

    def open(self, make_backend: BackendFactory, progress: Callable[[str], None]) -> int:
        """Finds the servers and loads the model that the settings name; returns how many jobs may
        be started at once. Raises what goes wrong with the model: servers may come later.
        """
        config = self._surroundings.config()
        if config.remote.endpoints.strip():
            self.remote = RemoteAnswers(self._surroundings)
            progress('asking remote engines what they are')
            self.remote.start()
            for each in self.remote.engines.status():
                found = f'{each.model}, {each.dialect}' if each.dialect else 'no answer'
                progress(f'remote engine {each.name}: {each.reason or found}')
        if not needs_own_model(config):
            return STARTED_JOBS
        self.model = load_model(config.model, make_backend, progress, self._surroundings.steady_ns)
        return self.model.description.slots

    def close(self) -> None:
        """Frees the model and ends what is asked of servers."""
        self.close_remote()
        self.remote = None
        model, self.model = self.model, None
        if model is not None:
            model.backend.close()

    def close_remote(self) -> None:
        """Ends what is asked of servers; any thread."""
        if self.remote is not None:
            self.remote.close()

    def loaded(self, failure: PenguinError | None, is_open: bool) -> LoadedModel:
        """Returns the own model; Inactive when it is not there (any more), because of `failure`
        where that is known; RemoteError when all is open and there is none.
        """
        if self.model is not None:
            return self.model
        if is_open and self.remote is not None:
            raise RemoteError(
                'only a model of the node itself can do this',
                'it has remote engines alone',
                'Set model.bundle or model.checkpoint, and configure the node again',
            )
        raise Inactive(
            'no model is loaded', str(failure or ''), 'Configure the node, which loads it'
        )

    def description(self) -> ModelDescription:
        """Returns which model answers; Inactive when there is none (any more)."""
        return self.known_description() or self.loaded(None, False).description

    def known_description(self) -> ModelDescription | None:
        """Returns which model answers: the own one, or without one that of the first server."""
        model, remote = self.model, self.remote
        if model is not None:
            return model.description
        if remote is None or needs_own_model(self._surroundings.config()):
            return None
        first = remote.engines.status()[0]
        return no_model(first.model or first.name, first.name)

    def is_working_ahead(self, config: PenguinConfig) -> bool:
        """False while nothing that is computed ahead would be used here."""
        return self.model is not None and (
            self.remote is None or not self.remote.is_taking_all(config)
        )

    def job(
        self,
        taken: TakenQuestion,
        config: PenguinConfig,
        on_answer: Callable[[Answer], None],
        on_piece: Callable[[TextPiece], None] | None,
    ) -> AnswerJob | RemoteAnswerJob:
        """Returns the job that answers a request; RemoteError when nothing can."""
        local, around = None, self._surroundings
        if self.model is not None:
            context = JobContext(
                config,
                self.model,
                around.now_ns,
                around.steady_ns,
                next(self._numbers),
                around.report,
            )
            local = AnswerJob(taken, context, on_answer, on_piece)
        if self.remote is None:
            assert local is not None
            return local
        model = self.model
        rules = model.window_rules(config) if model else WindowRules(config, VIDEO_UNIT)
        return self.remote.job(taken, rules, local, Listeners(on_answer, on_piece))
