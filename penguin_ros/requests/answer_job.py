# SPDX-License-Identifier: Apache-2.0
"""One request on its way to its one answer, as a job of the scheduler.

Everything runs on the worker thread, except that a job which is given up while a step hangs is
aborted on the thread that gives it up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError, StaleFrames
from penguin_ros.frame import NANOSECONDS
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import Step
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import Answer, Priority, Request, TextPiece
from penguin_ros.requests.evidence_builder import EvidenceBuilder
from penguin_ros.requests.images import RequestImages
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.steps import driven
from penguin_ros.window.camera import BegunCaption, Camera
from penguin_ros.window.camera_window import ChosenClip


@dataclass(frozen=True, eq=False)
class JobContext:
    """What a job needs besides its request.

    `config`: the settings at its receipt; either the `camera` that is asked about or the `images`
    that the request brings; `number` tells the random streams of requests apart; `report` gets a
    sentence and an exception of a callback.
    """

    config: PenguinConfig
    model: LoadedModel
    camera: Camera | None
    images: RequestImages | None
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    number: int
    report: Callable[[str, BaseException], None]


class AnswerJob:
    """A Job of the scheduler: `on_answer` is called once at the end, `on_piece` before that for
    every new piece of text.

    Its steps choose and prepare the frames, then they are those of the generation.
    """

    def __init__(
        self,
        request: Request,
        context: JobContext,
        on_answer: Callable[[Answer], None],
        on_piece: Callable[[TextPiece], None] | None,
    ) -> None:
        self._request = request
        self._context = context
        self._on_answer = on_answer
        self._on_piece = on_piece
        self._output = context.model.new_output()
        self._evidence = EvidenceBuilder(context.steady_ns(), self._output)
        self._caption: BegunCaption | None = None
        self._pieces = 0
        self._is_over = False

    @property
    def id(self) -> str:
        """The request's id."""
        return self._request.id

    @property
    def priority(self) -> Priority:
        """The request's priority."""
        return self._request.priority

    @property
    def key(self) -> str:
        """The camera's name, empty for a request that brought its images."""
        return self._request.camera

    @property
    def deadline_ns(self) -> int | None:
        """On the steady clock, counted from receipt."""
        return self._evidence.received_ns + self._request.deadline_ns

    @property
    def is_ready(self) -> bool:
        """False while the request's images are decoded."""
        return self._context.images is None or self._context.images.is_ready

    @property
    def max_preemption_ns(self) -> int | None:
        """Returns how long questions may preempt a caption, whose frames are too old after that."""
        if self._request.priority is not Priority.CAPTION:
            return None
        return round(self._context.config.caption.max_preemption * NANOSECONDS)

    def steps(self) -> Generator[None, None, None]:
        """Prepares the inputs, then generates the text; see Job."""
        self._evidence.started_ns = self._context.steady_ns()
        add_duration = partial(self._output.stats.add_duration, 'encode')
        inputs = yield from driven(self._inputs(), self._context.steady_ns, add_duration)
        if inputs is None:
            return
        self._evidence.note_inputs(inputs)
        yield
        yield from self._generate(inputs)

    def finish(self) -> None:
        """Delivers the whole answer; see Job."""
        self._end(None)

    def abort(self, error: PenguinError) -> None:
        """Delivers as much of the answer as there is; see Job."""
        self._end(error)

    def _inputs(self) -> Generator[None, None, ModelInputs | None]:
        """Makes the model's inputs; None when the model need not run."""
        request, context = self._request, self._context
        preprocessor = context.model.preprocessor(context.config.visual)
        if context.images is not None:
            return (yield from preprocessor.images_steps(context.images.decoded, request.text))
        assert context.camera is not None
        chosen = yield from self._find_clip(context.camera)
        if request.priority is Priority.CAPTION:
            self._caption = context.camera.begin_caption(
                request.text, chosen.clip, context.config.caption
            )
            if self._caption.repeated is not None:
                return None
        return (yield from preprocessor.clip_steps(chosen.clip, request.text, plan=chosen.plan))

    def _find_clip(self, camera: Camera) -> Generator[None, None, ChosenClip]:
        rules = self._context.model.window_rules(self._context.config)
        try:
            chosen = yield from camera.find_clip(self._request.interval, rules)
        except StaleFrames:
            self._evidence.is_stale = True
            raise
        self._evidence.note_clip(chosen)
        return chosen

    def _generate(self, inputs: ModelInputs) -> Generator[None, None, None]:
        request, context, model = self._request, self._context, self._context.model
        history = model.draft_history.for_prompt((request.camera, request.text))
        params = SamplingParams(
            request.max_tokens,
            model.source.shape.stop_token_ids,
            context.config.generation,
            context.config.model.prefill_chunk or model.caches.backend.description.prefill_chunk,
            seed_offset=context.number,
        )
        output = self._output
        with closing(
            generate(model.caches, inputs, params, output, context.steady_ns, history)
        ) as steps:
            try:
                for step in steps:
                    self._note(step)
                    yield
            finally:
                history.keep(output.token_ids, output.is_complete)

    def _note(self, step: Step) -> None:
        if step.token_ids and len(self._output.token_ids) == 1:
            self._evidence.note_first_token(self._context.steady_ns(), self._context.now_ns())
        if not step.piece or self._on_piece is None or self._is_over:
            return
        try:
            self._on_piece(TextPiece(self._pieces, self._output.text, step.piece))
            self._pieces += 1
        except Exception as error:
            self._on_piece = None  # once is enough to know
            self._context.report(f'the listener to the text of request {self.id} failed', error)

    def _end(self, error: PenguinError | None) -> None:
        self._is_over = True
        request, context = self._request, self._context
        error = None if error is None else error.fresh()
        answer = Answer(
            request.id,
            request.text,
            request.camera,
            self._output.text,
            self._evidence.evidence(context.model.description, error, context.steady_ns()),
            error,
        )
        if context.images is not None:
            context.images.drop()
        if self._caption is not None and context.camera is not None:
            answer = context.camera.end_caption(self._caption, answer, context.config.caption)
        self._on_answer(answer)
