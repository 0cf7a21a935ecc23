# SPDX-License-Identifier: Apache-2.0
"""Evaluates rules on clips that a verb brings, without ROS and without a scheduler: all rules of a
clip in one pass, as in the node.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from penguin_ros.backends.open_backend import make_backend
from penguin_ros.config import PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.frame import Clip, Frame
from penguin_ros.generation.generate import generate
from penguin_ros.generation.params import SamplingParams
from penguin_ros.requests.loaded_model import LoadedModel, load_model
from penguin_ros.requests.rule_job import firing_answer, question_of
from penguin_ros.rules.event import Evaluation
from penguin_ros.rules.rule import Rule
from penguin_ros.scoring.choice_score import ChoiceScore
from penguin_ros.scoring.scorer import ScoredQuestion
from penguin_ros.steps import run_to_end


class RuleEvaluator:
    """A model that says how probable conditions are; on the thread that uses it."""

    def __init__(self, config: PenguinConfig) -> None:
        self._config = config
        self._model: LoadedModel | None = None

    @property
    def model(self) -> LoadedModel:
        """The model, which is open inside of a `with` block."""
        assert self._model is not None
        return self._model

    def __enter__(self) -> RuleEvaluator:
        self._model = load_model(self._config.model, make_backend, status_line, time.monotonic_ns)
        facts = self._model.description
        status_line(f'{facts.name}: {facts.backend}, {facts.device}, {facts.precision}')
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self.model.backend.close()

    def scores(self, frames: Sequence[Frame], rules: Sequence[Rule]) -> list[ChoiceScore]:
        """Returns what each rule gets on the clip, in order."""
        model, clip = self.model, Clip(frames[0].camera, tuple(frames))
        preprocessor = model.preprocessor(self._config.visual)
        texts = [question_of(rule) for rule in rules]
        inputs = run_to_end(preprocessor.questions_steps(clip, texts))
        is_calibrated = self._config.rule.calibrated
        questions = [
            ScoredQuestion(
                each, rule.choices, is_debiased=is_calibrated and not rule.is_uncalibrated
            )
            for each, rule in zip(inputs, rules, strict=True)
        ]
        chunk = self._config.model.prefill_chunk or model.backend.description.prefill_chunk
        return run_to_end(model.scorer.score(model.caches, questions, chunk))

    def text(self, frames: Sequence[Frame], question: str) -> str:
        """Returns what the model says to a question about the clip."""
        model, clip = self.model, Clip(frames[0].camera, tuple(frames))
        inputs = model.preprocessor(self._config.visual).clip_inputs(clip, question)
        params = SamplingParams(
            self._config.caption.max_tokens, model.source.shape.stop_token_ids, prefill_chunk=256
        )
        output = model.new_output()
        run_to_end(generate(model.caches, inputs, params, output, time.monotonic_ns))
        return output.text


def evaluation_of(rule: Rule, score: ChoiceScore, stamp_ns: int) -> Evaluation:
    """Returns a score as the evaluation of a rule, on a clip whose newest frame has that stamp."""
    probability = score.probability_of(firing_answer(rule))
    return Evaluation(stamp_ns, probability, score.other_mass)
