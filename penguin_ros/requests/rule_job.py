# SPDX-License-Identifier: Apache-2.0
"""The rules of one camera that are due, evaluated as a job of the scheduler: each batch of them is
read in one pass over one clip.

Everything runs on the worker thread, except that a job which is given up while a step hangs is
aborted on the thread that gives it up.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import Evidence, Interval, Priority
from penguin_ros.requests.evidence_builder import EvidenceBuilder
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.rules.darkness import is_too_dark
from penguin_ros.rules.rule import Rule
from penguin_ros.rules.schedule import Batch
from penguin_ros.scoring.choice_score import ChoiceScore
from penguin_ros.scoring.scorer import ScoredQuestion
from penguin_ros.steps import driven
from penguin_ros.window.camera import Camera
from penguin_ros.window.camera_window import ChosenClip


@dataclass(frozen=True, eq=False)
class EvaluatedBatch:
    """What became of a batch. `scores` has one entry per rule, in their order, none where `doubt`
    says why nobody can tell; `frame` is the newest one looked at.
    """

    batch: Batch
    evidence: Evidence
    frame: Frame
    scores: tuple[ChoiceScore, ...] = ()
    doubt: str = ''


@dataclass(frozen=True, eq=False)
class RuleResults:
    """The end of a job: the batches that were evaluated, and the error that kept it from going on
    to those that are `left`.
    """

    camera: str
    done: tuple[EvaluatedBatch, ...]
    left: tuple[Batch, ...] = ()
    error: PenguinError | None = None


@dataclass(frozen=True)
class RuleWork:
    """What is to be evaluated: `batches` of one camera, on the clips of the present or, with
    `interval`, on that stretch of the past.
    """

    batches: tuple[Batch, ...]
    priority: Priority = Priority.RULE
    interval: Interval | None = None


@dataclass(frozen=True, eq=False)
class RuleContext:
    """What the job needs besides: settings at its receipt, the model, the camera, the clocks."""

    config: PenguinConfig
    model: LoadedModel
    camera: Camera
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]


class RuleJob:
    """A Job of the scheduler: `on_end` is called once, at the end."""

    is_ready = True

    def __init__(
        self, work: RuleWork, context: RuleContext, on_end: Callable[[RuleResults], None]
    ) -> None:
        self.id = f'rules/{context.camera.name}/{uuid.uuid4().hex}'
        self.key = context.camera.name
        self.priority = work.priority
        self._work = work
        self._context = context
        self._on_end = on_end
        self._received_ns = context.steady_ns()
        self._done: list[EvaluatedBatch] = []

    @property
    def deadline_ns(self) -> int | None:
        """On the steady clock, counted from receipt."""
        return self._received_ns + round(self._context.config.question.deadline * NANOSECONDS)

    @property
    def max_preemption_ns(self) -> int | None:
        """Returns how long questions may preempt it: its frames show the present no longer then."""
        if self.priority is not Priority.RULE:
            return None
        return round(self._context.config.watch.stale_after * NANOSECONDS)

    def steps(self) -> Generator[None, None, None]:
        """Evaluates batch after batch; see Job."""
        for batch in self._work.batches:
            self._done.append((yield from self._evaluated(batch)))

    def finish(self) -> None:
        """Delivers what was evaluated; see Job."""
        self._deliver(None)

    def abort(self, error: PenguinError) -> None:
        """Delivers as much as there is; see Job."""
        self._deliver(error.fresh())

    def _evaluated(self, batch: Batch) -> Generator[None, None, EvaluatedBatch]:
        context, output = self._context, self._context.model.new_output()
        evidence = EvidenceBuilder(self._received_ns, output)
        evidence.started_ns = context.steady_ns()
        window_rules = context.model.window_rules(context.config)
        chosen = yield from context.camera.find_clip(
            self._work.interval, window_rules, batch.clip_ns
        )
        evidence.note_clip(chosen)
        doubt, scores = self._darkness(chosen), list[ChoiceScore]()
        if not doubt:
            inputs = yield from self._inputs(batch, chosen, output)
            evidence.note_inputs(inputs[0])
            scores = yield from self._scores(batch, inputs, output)
            evidence.note_first_token(context.steady_ns(), context.now_ns())
        found = evidence.evidence(context.model.description, None, context.steady_ns())
        return EvaluatedBatch(batch, found, chosen.clip.frames[-1], tuple(scores), doubt)

    def _inputs(
        self, batch: Batch, chosen: ChosenClip, output: GenerationOutput
    ) -> Generator[None, None, list[ModelInputs]]:
        context = self._context
        preprocessor = context.model.preprocessor(context.config.visual)
        questions = [question_of(rule) for rule in batch.rules]
        steps = preprocessor.questions_steps(chosen.clip, questions, chosen.plan)
        add_duration = partial(output.stats.add_duration, 'encode')
        return (yield from driven(steps, context.steady_ns, add_duration))

    def _scores(
        self, batch: Batch, inputs: Sequence[ModelInputs], output: GenerationOutput
    ) -> Generator[None, None, list[ChoiceScore]]:
        context, caches = self._context, self._context.model.caches
        is_calibrated = context.config.rule.calibrated
        questions = [
            ScoredQuestion(
                each, rule.choices, is_debiased=is_calibrated and not rule.is_uncalibrated
            )
            for each, rule in zip(inputs, batch.rules, strict=True)
        ]
        chunk = context.config.model.prefill_chunk or caches.backend.description.prefill_chunk
        steps = context.model.scorer.score(caches, questions, chunk, output.stats)
        add_duration = partial(output.stats.add_duration, 'prefill')
        return (yield from driven(steps, context.steady_ns, add_duration))

    def _darkness(self, chosen: ChosenClip) -> str:
        """Returns that the newest frame shows nothing, '' where it does, or where somebody who
        asks wants to know all the same.
        """
        level = self._context.config.rule.dark_level
        is_asked = self.priority is not Priority.RULE
        if is_asked or not is_too_dark(chosen.clip.frames[-1].image, level):
            return ''
        return f'it is too dark: the image stays below {level} of 255 (rule.dark_level)'

    def _deliver(self, error: PenguinError | None) -> None:
        done = tuple(self._done)
        self._on_end(RuleResults(self.key, done, self._work.batches[len(done) :], error))


def question_of(rule: Rule) -> str:
    """Returns what the model is asked for a rule's condition."""
    if rule.choices or rule.condition.rstrip().endswith('?'):
        return rule.condition
    return f'Is this true: {rule.condition.rstrip().rstrip(".")}? Answer yes or no.'


def firing_answer(rule: Rule) -> str:
    """Returns the answer whose probability is that of the rule's condition."""
    return rule.firing_choice or 'yes'
