# SPDX-License-Identifier: Apache-2.0
"""One request on its way to its one answer, as a job of the scheduler. Knows models through LoadedModel, not who asked."""
from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

from penguin_ros.answering.clip_search import find_clip
from penguin_ros.answering.evidence_record import EvidenceRecord
from penguin_ros.answering.loaded_model import LoadedModel
from penguin_ros.clip_buffer import ClipBuffer
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError, StaleFrames
from penguin_ros.frame import NANOSECONDS, Clip
from penguin_ros.generation.limits import Limits
from penguin_ros.generation.loop import generate
from penguin_ros.generation.progress import Step
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import Answer, Priority, Request, TextPiece


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What a job needs besides its request.

    `config`: the settings at its receipt; `buffer`: of its camera, None when the request brings pictures; `number` tells the
    random streams of requests apart; `report` gets a sentence and an exception of a callback.
    """

    config: PenguinConfig
    model: LoadedModel
    buffer: ClipBuffer | None
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    number: int
    report: Callable[[str, BaseException], None]


class AnswerJob:
    """A Job of the scheduler: `on_answer` is called once at the end, `on_piece` before that for every new piece of text.

    Its steps: choosing and preparing the frames, then those of the generation.
    """

    def __init__(self, request: Request, circumstances: Circumstances, on_answer: Callable[[Answer], None],
                 on_piece: Callable[[TextPiece], None] | None) -> None:
        self._request, self._at = request, circumstances
        self._on_answer, self._on_piece = on_answer, on_piece
        self._record = EvidenceRecord(circumstances.steady_ns())
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
        """The camera."""
        return self._request.camera

    @property
    def deadline_ns(self) -> int | None:
        """On the steady clock, counted from receipt."""
        return self._record.received_ns + self._request.deadline_ns

    @property
    def max_pause_ns(self) -> int | None:
        """Of a caption: its frames are old when questions have kept it from going on for so long."""
        is_caption = self._request.priority is Priority.CAPTION
        return round(self._at.config.caption.max_pause * NANOSECONDS) if is_caption else None

    @property
    def has_camera(self) -> bool:
        """False for a request that brought its pictures."""
        return self._at.buffer is not None

    def steps(self) -> Generator[None, None, None]:
        """See Job; on the worker thread."""
        record, model, config = self._record, self._at.model, self._at.config
        record.started_ns = self._at.steady_ns()
        inputs = yield from self._prepare()
        drafts = model.drafts.record((self._request.camera, self._request.text))
        limits = Limits(self._request.max_tokens, model.source.shape.stop_token_ids, config.generation,
                        config.model.prefill_chunk, seed_offset=self._at.number, drafts=drafts)
        with closing(generate(model.reuse, inputs, limits, model.text_stream(), self._at.steady_ns, record.progress)) as steps:
            try:
                for step in steps:
                    self._note(step)
                    yield
            finally:
                model.drafts.keep(drafts, record.progress)

    def finish(self) -> None:
        """The whole answer."""
        self._end(None)

    def abort(self, error: PenguinError) -> None:
        """As much of the answer as there is."""
        self._end(error)

    def _prepare(self) -> Generator[None, None, ModelInputs]:
        """Yields between frames; only the time inside its steps counts."""
        at, request, record = self._at, self._request, self._record
        preprocessor = at.model.preprocessor(at.config.visual)
        if at.buffer is None:
            steps = preprocessor.images_steps(request.images, request.text)
        else:
            steps = preprocessor.clip_steps(self._find_clip(at.buffer), request.text)
        while True:
            start_ns = at.steady_ns()
            try:
                next(steps)
            except StopIteration as end:
                inputs: ModelInputs = end.value
                break
            finally:
                record.prepare_ns += at.steady_ns() - start_ns
            yield
        record.note_inputs(inputs)
        yield
        return inputs

    def _find_clip(self, buffer: ClipBuffer) -> Clip:
        at, record = self._at, self._record
        try:
            found = find_clip(buffer, self._request.interval, at.config, at.now_ns())
        except StaleFrames:
            record.is_stale = True
            raise
        record.note_clip(found)
        return found.clip

    def _note(self, step: Step) -> None:
        if step.token_ids and len(self._record.progress.token_ids) == 1:
            self._record.note_first_token(self._at.steady_ns(), self._at.now_ns())
        if not step.piece or self._on_piece is None or self._is_over:
            return
        try:
            self._on_piece(TextPiece(self._pieces, self._record.progress.text, step.piece))
            self._pieces += 1
        except Exception as error:
            self._on_piece = None  # once is enough to know
            self._at.report(f'the listener to the text of request {self.id} failed', error)

    def _end(self, error: PenguinError | None) -> None:
        self._is_over = True
        request, told = self._request, None if error is None else error.fresh()
        evidence = self._record.evidence(self._at.model.facts, told, self._at.steady_ns())
        self._on_answer(Answer(request.id, request.text, request.camera, self._record.progress.text, evidence, told))
