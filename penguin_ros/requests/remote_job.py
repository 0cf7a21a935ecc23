# SPDX-License-Identifier: Apache-2.0
"""One request that a remote engine answers, as a job of the scheduler; where that fails, the
AnswerJob of the node's own model goes on with the same clip.

The clip is chosen on the worker thread. While the question is on its way the job is parked, so that
the worker does other work and nothing of the node waits for the network. Pieces of text come on the
thread of the remote engines; the end is told on the worker thread.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import CaptionTooLate, PenguinError, StaleFrames
from penguin_ros.frame import NANOSECONDS, FrameType
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.remote.engine import RemoteCall, RemoteEngines
from penguin_ros.remote.question import Answerer, RemoteAnswer, RemoteQuestion
from penguin_ros.request import Answer, FrameRef, Priority, TextPiece
from penguin_ros.requests.answer_job import AnswerJob, changed_sampling
from penguin_ros.requests.evidence_builder import EvidenceBuilder
from penguin_ros.requests.question_intake import TakenQuestion
from penguin_ros.requests.remote_frames import PlannedFrames, planned_frames
from penguin_ros.window.camera import BegunCaption
from penguin_ros.window.camera_window import ChosenClip
from penguin_ros.window.window_rules import WindowRules


@dataclass(frozen=True, eq=False)
class RemoteContext:
    """What a remote job needs besides its question. `rules` say what its camera's window holds;
    `stream` names the node to servers; `wake` has the scheduler look at the job again; `counts` are
    those of RemoteStats; `report` gets a sentence and an exception of a callback.
    """

    config: PenguinConfig
    engines: RemoteEngines
    rules: WindowRules
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    stream: str
    wake: Callable[[], None]
    counts: Counter[str]
    report: Callable[[str, BaseException], None]


@dataclass(frozen=True, eq=False)
class Listeners:
    """Whom a job tells; see AnswerJob."""

    on_answer: Callable[[Answer], None]
    on_piece: Callable[[TextPiece], None] | None


@dataclass(eq=False)
class _Shown:
    """The text that has left so far. The thread of the remote engines writes it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    pieces: int = 0
    is_over: bool = False


class RemoteAnswerJob:
    """A Job of the scheduler. `local`: the job of the node's own model, which stands in; None where
    it may not.
    """

    max_preemption_ns = None

    def __init__(
        self,
        taken: TakenQuestion,
        context: RemoteContext,
        listeners: Listeners,
        local: AnswerJob | None,
    ) -> None:
        self._taken = taken
        self._request = taken.request
        self._context = context
        self._listeners = listeners
        self._local = local
        self._is_local = False
        self._output = GenerationOutput(Detokenizer(lambda token_id: b''))
        self._evidence = EvidenceBuilder(context.steady_ns(), self._output)
        self._chosen: ChosenClip | None = None
        self._caption: BegunCaption | None = None
        self._call: RemoteCall | None = None
        self._answer: RemoteAnswer | None = None
        self._shown = _Shown()
        self.id = self._request.id
        self.priority = self._request.priority
        self.key = self._request.camera
        self.deadline_ns = self._evidence.received_ns + self._request.deadline_ns

    @property
    def is_ready(self) -> bool:
        """False while what the request brings is prepared, and while servers are at it."""
        is_away = self._call is not None and self._answer is None
        return not is_away and all(thing.is_ready for thing in self._taken.preparations)

    def steps(self) -> Generator[None, None, None]:
        """Chooses and plans the frames, has the question answered, and falls back; see Job."""
        self._evidence.started_ns = self._context.steady_ns()
        planned = yield from self._frames()
        if planned is None:
            return
        answer = yield from self._asked(planned)
        if answer.error is None:
            self._context.counts['answered'] += 1
            return
        self._check_fallback(answer)
        assert self._local is not None
        self._context.counts['fallbacks'] += 1
        self._is_local = True
        self._local.stand_in(str(answer.failures or answer.error.why), self._chosen, self._caption)
        with closing(self._local.steps()) as steps:
            yield from steps

    def finish(self) -> None:
        """Delivers the whole answer; see Job."""
        if self._is_local and self._local is not None:
            self._local.finish()
        else:
            self._end(None)

    def abort(self, error: PenguinError) -> None:
        """Delivers as much of the answer as there is; see Job."""
        if self._call is not None and self._answer is None:
            self._call.cancel()
        if self._is_local and self._local is not None:
            self._local.abort(error)
        else:
            self._end(error)

    # --- what is asked ----------------------------------------------------------------------------

    def _frames(self) -> Generator[None, None, PlannedFrames | None]:
        """Returns the frames that are sent; None for a caption that repeats the last."""
        taken, config = self._taken, self._context.config
        if taken.camera is not None:
            try:
                chosen = yield from taken.camera.find_clip(
                    self._request.interval, self._context.rules
                )
            except StaleFrames:
                self._evidence.is_stale = True
                raise
            self._chosen = chosen
            self._evidence.note_clip(chosen)
            if self.priority is Priority.CAPTION:
                self._caption = taken.camera.begin_caption(
                    self._request.text, chosen.clip, config.caption
                )
                if self._caption.repeated is not None:
                    return None
        planned = yield from planned_frames(taken.images, self._chosen, config.visual)
        self._note_planned(planned)
        return planned

    def _note_planned(self, planned: PlannedFrames) -> None:
        evidence = self._evidence
        evidence.is_truncated = evidence.is_truncated or planned.is_truncated
        has_stamps = self._chosen is not None or planned.is_clip
        evidence.frames = tuple(
            FrameRef(
                each.frame.stamp_ns if has_stamps else 0,
                each.frame.camera,
                each.frame.frame_id,
                each.type if planned.is_clip else FrameType.KEY,
            )
            for each in planned.frames
        )

    def _question(self, planned: PlannedFrames) -> RemoteQuestion:
        request, config = self._request, self._context.config
        now_ns, deadline_ns = self._context.steady_ns(), self.deadline_ns
        is_caption = self.priority is Priority.CAPTION
        if is_caption:
            longest_ns = round(config.remote.caption_timeout * NANOSECONDS)
            deadline_ns = min(deadline_ns, now_ns + longest_ns)
        first_ns = min(deadline_ns, now_ns + round(config.remote.first_timeout * NANOSECONDS))
        if self._local is not None and not is_caption:
            first_ns = min(first_ns, now_ns + (deadline_ns - now_ns) // 2)
        return RemoteQuestion(
            id=request.id,
            text=request.text,
            frames=planned.frames,
            camera=request.camera,
            is_clip=planned.is_clip,
            is_caption=is_caption,
            is_truncated=planned.is_truncated,
            max_tokens=request.max_tokens,
            first_ns=first_ns,
            deadline_ns=deadline_ns,
            stream=f'{self._context.stream}/{request.camera}',
            is_urged=self._local is not None or is_caption,
            stop=request.sampling.stop,
            choices=request.choices,
            json_schema=request.json_schema,
            generation=changed_sampling(request.sampling, config.generation),
        )

    def _asked(self, planned: PlannedFrames) -> Generator[None, None, RemoteAnswer]:
        question = self._question(planned)
        self._call = self._context.engines.ask(question, self._show, self._take)
        try:
            yield
            while self._answer is None:  # parked meanwhile
                yield
        finally:
            if self._answer is None:
                self._call.cancel()
        answer = self._answer
        if answer.answerer is not None:
            self._evidence.endpoint = answer.answerer.endpoint
        self._output.stop_reason = answer.stop_reason
        self._output.stats = answer.stats
        is_late = self._context.steady_ns() >= question.deadline_ns
        if answer.error is not None and is_late and question.is_caption:
            self._context.counts['captions_late'] += 1
            raise CaptionTooLate(
                'a caption came too late',
                f'servers took longer than {self._context.config.remote.caption_timeout} s '
                f'(remote.caption_timeout): {answer.failures}',
            )
        return answer

    def _check_fallback(self, answer: RemoteAnswer) -> None:
        """Raises the error of an answer that nobody else may give: its beginning has been shown, or
        there is no model here.
        """
        assert answer.error is not None
        if self._local is None or (self._shown.pieces and self._listeners.on_piece is not None):
            self._context.counts['failed'] += 1
            raise answer.error
        self._output.text = ''
        self._evidence.endpoint = ''

    # --- the thread of the remote engines ---------------------------------------------------------

    def _show(self, piece: str) -> None:
        context, shown = self._context, self._shown
        with shown.lock:
            if shown.is_over:
                return
            if not shown.pieces:
                self._evidence.note_first_token(context.steady_ns(), context.now_ns())
            self._output.text += piece
            number, shown.pieces = shown.pieces, shown.pieces + 1
            on_piece = self._listeners.on_piece
            if on_piece is None:
                return
            try:
                on_piece(TextPiece(number, self._output.text, piece))
            except Exception as error:
                self._listeners = replace(self._listeners, on_piece=None)  # once is enough to know
                context.report(f'the listener to the text of request {self.id} failed', error)

    def _take(self, answer: RemoteAnswer) -> None:
        self._answer = answer
        self._context.wake()

    # --- its end ----------------------------------------------------------------------------------

    def _end(self, error: PenguinError | None) -> None:
        with self._shown.lock:
            self._shown.is_over = True
        request, context = self._request, self._context
        error = None if error is None else error.fresh()
        answerer = self._answer.answerer if self._answer is not None else None
        answer = Answer(
            request.id,
            request.text,
            request.camera,
            self._output.text,
            self._evidence.evidence(_described(answerer), error, context.steady_ns()),
            error,
        )
        typed = self._answer.typed if self._answer is not None and error is None else None
        if typed is not None:
            answer = replace(
                answer, chosen=typed.chosen, json=typed.json, confidence=typed.confidence
            )
        for thing in self._taken.preparations:
            thing.drop()
        if self._caption is not None and self._taken.camera is not None:
            answer = self._taken.camera.end_caption(self._caption, answer, context.config.caption)
        self._listeners.on_answer(answer)


def no_model(name: str, endpoint: str) -> ModelDescription:
    """Returns the description of a node without a model of its own."""
    return ModelDescription(
        name=name,
        digest='',
        source='',
        backend='remote',
        device=endpoint,
        precision='',
        max_length=0,
        slots=0,
        vocabulary_size=0,
        language_parameters=0,
        vision_parameters=0,
        weight_bytes=0,
        load_ns=0,
    )


def _described(answerer: Answerer | None) -> ModelDescription:
    if answerer is None:
        return no_model('', '')
    return replace(
        no_model(answerer.model, answerer.endpoint),
        digest=answerer.digest,
        backend=answerer.backend or 'remote',
        precision=answerer.precision,
    )
