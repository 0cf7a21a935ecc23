# SPDX-License-Identifier: Apache-2.0
"""One request on its way to its one answer, as a job of the scheduler. Knows models through
LoadedModel, not who asked.
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
from penguin_ros.requests.caption_turn import CaptionTurn
from penguin_ros.requests.clip_selection import CameraView, FoundClip, find_clip
from penguin_ros.requests.evidence_builder import EvidenceBuilder
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.steps import driven


@dataclass(frozen=True, eq=False)
class JobContext:
    """What a job needs besides its request.

    `config`: the settings at its receipt; `view`: of its camera, None when the request brings
    pictures; `number` tells the random streams of requests apart; `report` gets a sentence and an
    exception of a callback.
    """

    config: PenguinConfig
    model: LoadedModel
    view: CameraView | None
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    number: int
    report: Callable[[str, BaseException], None]


class AnswerJob:
    """A Job of the scheduler: `on_answer` is called once at the end, `on_piece` before that for
    every new piece of text.

    Its steps: choosing and preparing the frames, then those of the generation.
    """

    def __init__(
        self,
        request: Request,
        context: JobContext,
        on_answer: Callable[[Answer], None],
        on_piece: Callable[[TextPiece], None] | None,
    ) -> None:
        self._request, self._context = request, context
        self._on_answer, self._on_piece = on_answer, on_piece
        self._output = context.model.new_output()
        self._record = EvidenceBuilder(context.steady_ns(), self._output)
        self._turn = _caption_turn(request, context)
        self._pieces = 0
        self._is_over = False

    @property
    def id(self) -> str:
        """Of the request."""
        return self._request.id

    @property
    def priority(self) -> Priority:
        """Of the request."""
        return self._request.priority

    @property
    def key(self) -> str:
        """The camera, empty for a request that brought its pictures."""
        return self._request.camera

    @property
    def deadline_ns(self) -> int | None:
        """On the steady clock, counted from receipt."""
        return self._record.received_ns + self._request.deadline_ns

    @property
    def max_preemption_ns(self) -> int | None:
        """Of a caption: its frames are old when questions have kept it from going on for so long."""
        is_caption = self._request.priority is Priority.CAPTION
        return (
            round(self._context.config.caption.max_preemption * NANOSECONDS) if is_caption else None
        )

    def steps(self) -> Generator[None, None, None]:
        """See Job; on the worker thread."""
        output, model, config = self._output, self._context.model, self._context.config
        self._record.started_ns = self._context.steady_ns()
        inputs = yield from self._prepare()
        if inputs is None:
            return
        history = model.draft_history.for_prompt((self._request.camera, self._request.text))
        params = SamplingParams(
            self._request.max_tokens,
            model.source.shape.stop_token_ids,
            config.generation,
            config.model.prefill_chunk,
            seed_offset=self._context.number,
        )
        with closing(
            generate(
                model.caches,
                inputs,
                params,
                output,
                self._context.steady_ns,
                history,
            )
        ) as steps:
            try:
                for step in steps:
                    self._note(step)
                    yield
            finally:
                history.keep(output.token_ids, output.is_complete)

    def finish(self) -> None:
        """The whole answer."""
        self._end(None)

    def abort(self, error: PenguinError) -> None:
        """As much of the answer as there is."""
        self._end(error)

    def _prepare(self) -> Generator[None, None, ModelInputs | None]:
        """None when the model need not run. Yields between frames; only the time inside its steps
        counts.
        """
        add_duration = partial(self._output.stats.add_duration, 'encode')
        inputs = yield from driven(self._inputs(), self._context.steady_ns, add_duration)
        if inputs is not None:
            self._record.note_inputs(inputs)
            yield
        return inputs

    def _inputs(self) -> Generator[None, None, ModelInputs | None]:
        request, preprocessor = (
            self._request,
            self._context.model.preprocessor(self._context.config.visual),
        )
        if self._context.view is None:
            return (yield from preprocessor.images_steps(request.images, request.text))
        found = yield from self._find_clip(self._context.view)
        if self._turn is not None and not self._turn.begin(found.clip):
            return None
        return (yield from preprocessor.clip_steps(found.clip, request.text, plan=found.plan))

    def _find_clip(self, view: CameraView) -> Generator[None, None, FoundClip]:
        at, record = self._context, self._record
        try:
            found = yield from find_clip(
                view, self._request.interval, at.model.window_rules(at.config), at.now_ns
            )
        except StaleFrames:
            record.is_stale = True
            raise
        record.note_clip(found)
        return found

    def _note(self, step: Step) -> None:
        if step.token_ids and len(self._output.token_ids) == 1:
            self._record.note_first_token(self._context.steady_ns(), self._context.now_ns())
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
        request, told = self._request, None if error is None else error.fresh()
        evidence = self._record.evidence(self._context.model.facts, told, self._context.steady_ns())
        answer = Answer(request.id, request.text, request.camera, self._output.text, evidence, told)
        self._on_answer(answer if self._turn is None else self._turn.end(answer))


def _caption_turn(request: Request, at: JobContext) -> CaptionTurn | None:
    if request.priority is not Priority.CAPTION or at.view is None:
        return None
    return CaptionTurn(at.view.window, at.config.caption, request.text, at.now_ns, at.steady_ns)
