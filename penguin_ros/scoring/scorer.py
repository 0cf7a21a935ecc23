# SPDX-License-Identifier: Apache-2.0
"""Scores the answers to questions about one clip, with one model; worker thread.

A job calls it so, and yields at every step:

    inputs = yield from preprocessor.questions_steps(clip, texts, plan)
    questions = [ScoredQuestion(each, choices) for each, choices in zip(inputs, ...)]
    scores = yield from model.scorer.score(model.caches, questions, prefill_chunk)

The clip is encoded and prefilled once, and all questions are read as branches of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from penguin_ros.checkpoint.calibration import AnswerTemperatures
from penguin_ros.generation.branches import BranchQuery, read_branches
from penguin_ros.generation.caches import Caches
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.request import GenerationStats
from penguin_ros.scoring.bias import BiasKey, KeptBiases, bias_key, neutral_inputs
from penguin_ros.scoring.choice_score import NEVER, ChoiceScore
from penguin_ros.scoring.outcomes import Outcomes, is_yes_no, outcomes_of

KEPT_OUTCOMES = 256
"""Sets of choices whose tokens are kept."""


@dataclass(frozen=True, eq=False)
class ScoredQuestion:
    """A whole prompt and the answers that are scored: `choices`, or yes and no when it is empty.

    `is_debiased`: what the same question gets on a neutral clip is subtracted. `has_cannot_tell`:
    the mass of wordings that say that it cannot be told is read too; without, it counts as other
    mass. `temperature` 0 takes the model's.
    """

    inputs: ModelInputs
    choices: tuple[str, ...] = ()
    is_debiased: bool = False
    has_cannot_tell: bool = False
    temperature: float = 0.0

    @property
    def bias_key(self) -> BiasKey:
        """What its bias is kept under."""
        return bias_key(self.inputs, self.choices)


class AnswerScorer:
    """What scoring keeps for one loaded model: the tokens of answers, and biases by question.

    `encode` gives the tokens of plain text; `temperatures` are those that were fitted for the
    model.
    """

    def __init__(
        self,
        encode: Callable[[str], list[int]],
        stop_token_ids: Sequence[int],
        temperatures: AnswerTemperatures | None = None,
    ) -> None:
        self._temperatures = temperatures or AnswerTemperatures()
        self._biases = KeptBiases()

        @lru_cache(KEPT_OUTCOMES)
        def outcomes(choices: tuple[str, ...], has_cannot_tell: bool) -> Outcomes:
            return outcomes_of(choices, encode, stop_token_ids, has_cannot_tell)

        self._outcomes = outcomes

    def score(
        self,
        caches: Caches,
        questions: Sequence[ScoredQuestion],
        prefill_chunk: int,
        stats: GenerationStats | None = None,
    ) -> Generator[None, None, list[ChoiceScore]]:
        """Returns the score of each question, in order; they all show the same frames. Yields after
        every slice, chunk and pass. `stats` gets the counts of reading the clip.

        The first time that a debiased question is asked, it is asked about a neutral clip too.
        Raises what `read_branches` raises.
        """
        scores = yield from self._read(caches, questions, prefill_chunk, stats)
        debiased = [each for each in questions if each.is_debiased and each.inputs.frames]
        new = {each.bias_key: each for each in debiased if not self._biases.find(each.bias_key)}
        if new:
            yield from self._read_biases(caches, new, prefill_chunk)
        return [
            replace(score, bias=self._biases.find(each.bias_key)) if each in debiased else score
            for each, score in zip(questions, scores, strict=True)
        ]

    def _read(
        self,
        caches: Caches,
        questions: Sequence[ScoredQuestion],
        prefill_chunk: int,
        stats: GenerationStats | None = None,
    ) -> Generator[None, None, list[ChoiceScore]]:
        outcomes = [self._outcomes(each.choices, each.has_cannot_tell) for each in questions]
        queries = [
            BranchQuery(each.inputs, of.wanted)
            for each, of in zip(questions, outcomes, strict=True)
        ]
        found = yield from read_branches(caches, queries, prefill_chunk, stats)
        return [
            ChoiceScore(
                of.choices,
                of.log_masses(each),
                of.cannot_tell_log_mass(each) if of.cannot_tell else NEVER,
                temperature=question.temperature or self._temperature(of),
            )
            for question, of, each in zip(questions, outcomes, found, strict=True)
        ]

    def _temperature(self, outcomes: Outcomes) -> float:
        fitted = self._temperatures
        return fitted.yes_no if is_yes_no(outcomes.choices) else fitted.choices

    def _read_biases(
        self, caches: Caches, new: dict[BiasKey, ScoredQuestion], prefill_chunk: int
    ) -> Generator[None, None, None]:
        grey = [ScoredQuestion(neutral_inputs(each.inputs), each.choices) for each in new.values()]
        scores = yield from self._read(caches, grey, prefill_chunk)
        for key, score in zip(new, scores, strict=True):
            self._biases.keep(key, score.log_masses)
