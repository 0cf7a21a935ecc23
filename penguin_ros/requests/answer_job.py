# SPDX-License-Identifier: Apache-2.0
"""One request on its way to its one answer, as a job of the scheduler.

Everything runs on the worker thread, except that a job which is given up while a step hangs is
aborted on the thread that gives it up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from penguin_ros.config import GenerationConfig, PenguinConfig
from penguin_ros.errors import PenguinError, StaleFrames
from penguin_ros.frame import NANOSECONDS, Clip, Frame
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import Step
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.preprocessing.dialogue import Turn
from penguin_ros.request import (
    Answer,
    ChosenAnswer,
    Priority,
    SamplingChange,
    TextPiece,
    TokenLogprob,
)
from penguin_ros.requests.evidence_builder import EvidenceBuilder
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.requests.question_intake import TakenQuestion
from penguin_ros.requests.said_dialogue import is_left_out, said_inputs
from penguin_ros.requests.typed_answer import (
    CANNOT_TELL_TEXT,
    choice_confidence,
    chosen_answer,
    json_of,
    text_confidence,
    token_logprobs,
)
from penguin_ros.scoring.scorer import ScoredQuestion
from penguin_ros.steps import driven
from penguin_ros.window.camera import BegunCaption, Camera
from penguin_ros.window.camera_window import ChosenClip


@dataclass(frozen=True, eq=False)
class JobContext:
    """What a job needs besides its question.

    `config`: the settings at its receipt; `number` tells the random streams of requests apart;
    `report` gets a sentence and an exception of a callback.
    """

    config: PenguinConfig
    model: LoadedModel
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    number: int
    report: Callable[[str, BaseException], None]


class AnswerJob:
    """A Job of the scheduler: `on_answer` is called once at the end, `on_piece` before that for
    every new piece of text.

    Its steps choose and prepare the frames, then they are those of the generation, or of reading
    the probabilities of choices.
    """

    def __init__(
        self,
        taken: TakenQuestion,
        context: JobContext,
        on_answer: Callable[[Answer], None],
        on_piece: Callable[[TextPiece], None] | None,
    ) -> None:
        self._taken = taken
        self._request = taken.request
        self._context = context
        self._on_answer = on_answer
        self._on_piece = on_piece
        self._output = context.model.new_output(taken.request.sampling.stop)
        self._evidence = EvidenceBuilder(context.steady_ns(), self._output)
        self._caption: BegunCaption | None = None
        self._conversation = taken.conversation
        self._chosen: ChosenAnswer | None = None
        self._pieces = 0
        self._shown_tokens = 0
        self._is_over = False
        self._given_clip: ChosenClip | None = None

    def stand_in(
        self, reason: str, chosen: ChosenClip | None = None, caption: BegunCaption | None = None
    ) -> None:
        """Has the model of the node answer what a remote engine was to, and says why; `chosen` and
        `caption`: the clip that was asked about, and the caption begun with it.
        """
        self._evidence.fallback_reason = reason
        self._given_clip, self._caption = chosen, caption

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
        """False while what the request brings is prepared."""
        return all(thing.is_ready for thing in self._taken.preparations)

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
        yield
        if self._request.choices:
            yield from self._score(inputs)
        else:
            yield from self._generate(inputs)
        if self._conversation is not None:
            yield from self._conversation.note_answer(self._output.text)

    def finish(self) -> None:
        """Delivers the whole answer; see Job."""
        self._end(None)

    def abort(self, error: PenguinError) -> None:
        """Delivers as much of the answer as there is; see Job."""
        self._end(error)

    def _inputs(self) -> Generator[None, None, ModelInputs | None]:
        """Makes the model's inputs; None when the model need not run."""
        preprocessor = self._context.model.preprocessor(self._context.config.visual)
        said = self._request.dialogue
        if said:
            inputs, frames = yield from said_inputs(said, preprocessor)
            self._evidence.note_said(inputs, frames, is_left_out(said))
            return inputs
        turn = yield from self._turn(preprocessor)
        if turn is None:
            return None
        self._evidence.note_inputs(turn)
        if self._conversation is None:
            return preprocessor.dialogue_inputs((), turn, is_lasting=False)
        max_length = self._context.model.description.max_length - self._request.max_tokens
        return self._conversation.inputs(turn, preprocessor, max_length, self._evidence)

    def _turn(self, preprocessor: Preprocessor) -> Generator[None, None, Turn | None]:
        """Prepares the question and what it brings; None for a caption that repeats the last."""
        request, taken = self._request, self._taken
        if taken.images is not None:
            return (yield from self._images_turn(preprocessor))
        if taken.camera is None:
            return Turn((), request.text)
        chosen = yield from self._find_clip(taken.camera)
        if request.priority is Priority.CAPTION and self._caption is None:
            self._caption = taken.camera.begin_caption(
                request.text, chosen.clip, self._context.config.caption
            )
            if self._caption.repeated is not None:
                return None
        return (yield from preprocessor.clip_turn_steps(chosen.clip, request.text, chosen.plan))

    def _images_turn(self, preprocessor: Preprocessor) -> Generator[None, None, Turn]:
        """Images with stamps are shown as a clip."""
        images, text = self._taken.images, self._request.text
        assert images is not None
        if not images.stamps_ns:
            return (yield from preprocessor.images_turn_steps(images.decoded, text))
        self._evidence.image_stamps_ns = images.stamps_ns
        stamped = zip(images.stamps_ns, images.decoded, strict=True)
        clip = Clip('', tuple(Frame(stamp_ns, image) for stamp_ns, image in stamped))
        return (yield from preprocessor.clip_turn_steps(clip, text))

    def _find_clip(self, camera: Camera) -> Generator[None, None, ChosenClip]:
        rules = self._context.model.window_rules(self._context.config)
        chosen = self._given_clip
        try:
            if chosen is None:
                chosen = yield from camera.find_clip(self._request.interval, rules)
        except StaleFrames:
            self._evidence.is_stale = True
            raise
        self._evidence.note_clip(chosen)
        return chosen

    def _generate(self, inputs: ModelInputs) -> Generator[None, None, None]:
        request, context, model = self._request, self._context, self._context.model
        history = model.draft_history.for_prompt(
            (request.camera, request.text, request.json_schema)
        )
        params = SamplingParams(
            request.max_tokens,
            model.source.shape.stop_token_ids,
            changed_sampling(request.sampling, context.config.generation),
            self._prefill_chunk,
            seed_offset=context.number if request.sampling.seed is None else 0,
            grammar=None if self._taken.schema is None else self._taken.schema.grammar,
            logprobs=request.wants_logprobs,
            top_logprobs=request.top_logprobs,
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

    def _score(self, inputs: ModelInputs) -> Generator[None, None, None]:
        """Reads how probable each choice is; the text is the choice."""
        context, model, output = self._context, self._context.model, self._output
        question = ScoredQuestion(inputs, self._request.choices, has_cannot_tell=True)
        [score] = yield from driven(
            model.scorer.score(model.caches, [question], self._prefill_chunk, output.stats),
            context.steady_ns,
            partial(output.stats.add_duration, 'prefill'),
        )
        chosen = chosen_answer(score, context.config.question.cannot_tell_threshold)
        self._chosen = chosen
        output.text = chosen.choice or CANNOT_TELL_TEXT
        self._evidence.note_first_token(context.steady_ns(), context.now_ns())
        self._show(output.text)

    @property
    def _prefill_chunk(self) -> int:
        context = self._context
        described = context.model.caches.backend.description
        return context.config.model.prefill_chunk or described.prefill_chunk

    def _note(self, step: Step) -> None:
        if step.token_ids and len(self._output.token_ids) == len(step.token_ids):
            self._evidence.note_first_token(self._context.steady_ns(), self._context.now_ns())
        self._show(step.piece)

    def _show(self, piece: str) -> None:
        if not piece or self._on_piece is None or self._is_over:
            return
        try:
            self._on_piece(TextPiece(self._pieces, self._output.text, piece, self._new_logprobs()))
            self._pieces += 1
        except Exception as error:
            self._on_piece = None  # once is enough to know
            self._context.report(f'the listener to the text of request {self.id} failed', error)

    def _new_logprobs(self) -> tuple[TokenLogprob, ...]:
        if not self._request.wants_logprobs:
            return ()
        new = token_logprobs(self._output, self._context.model, self._shown_tokens)
        self._shown_tokens += len(new)
        return new

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
        if request.priority is Priority.QUESTION:
            answer = self._typed(answer)
        for thing in self._taken.preparations:
            thing.drop()
        if self._caption is not None and self._taken.camera is not None:
            answer = self._taken.camera.end_caption(self._caption, answer, context.config.caption)
        self._on_answer(answer)

    def _typed(self, answer: Answer) -> Answer:
        """Adds what a program can use."""
        output, model, chosen = self._output, self._context.model, self._chosen
        is_whole = answer.error is None
        conversation = ''
        if self._conversation is not None:
            conversation = self._conversation.end(self._request, is_whole)
        return replace(
            answer,
            chosen=chosen,
            json=json_of(output, model) if self._request.json_schema and is_whole else '',
            confidence=choice_confidence(chosen) if chosen else text_confidence(output),
            logprobs=token_logprobs(output, model) if self._request.wants_logprobs else (),
            conversation=conversation,
        )


def changed_sampling(change: SamplingChange, usual: GenerationConfig) -> GenerationConfig:
    """Returns the settings with what the request wants otherwise."""
    return replace(
        usual,
        temperature=usual.temperature if change.temperature is None else change.temperature,
        top_p=usual.top_p if change.top_p is None else change.top_p,
        seed=usual.seed if change.seed is None else change.seed,
    )
