# SPDX-License-Identifier: Apache-2.0
"""Answers that a program can use: the schema of a JSON answer on its way to a grammar, and what is
read from logits as values of the answer.
"""

from __future__ import annotations

import math

from penguin_ros.generation.json_grammar import JsonGrammar, safe_json
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.request import ChosenAnswer, StopReason, TokenLogprob
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.scoring.choice_score import ChoiceScore

CANNOT_TELL_TEXT = 'I cannot tell.'


class RequestSchema:
    """The JSON schema of one request, compiled by the preparer."""

    def __init__(self, schema: str, model: LoadedModel) -> None:
        self._schema = schema
        self._model = model
        self.grammar: JsonGrammar | None = None

    @property
    def is_ready(self) -> bool:
        """See Preparable."""
        return self.grammar is not None

    def prepare(self) -> None:
        """Compiles the schema; InvalidSchema, ImportError without llguidance."""
        self.grammar = self._model.json_grammars.compile(self._schema)

    def drop(self) -> None:
        """See Preparable; what is dropped here is small."""
        self.grammar = None


def chosen_answer(score: ChoiceScore, threshold: float) -> ChosenAnswer:
    """Returns which choice it is, or that it cannot be told, when that is more probable than
    `threshold`.
    """
    is_cannot_tell = score.cannot_tell > threshold
    return ChosenAnswer(
        choice='' if is_cannot_tell else score.choice,
        choices=score.choices,
        probabilities=score.probabilities,
        cannot_tell=score.cannot_tell,
        is_cannot_tell=is_cannot_tell,
        other_mass=score.other_mass,
    )


def choice_confidence(chosen: ChosenAnswer) -> float:
    """Returns the probability of the choice, 0 where there is none."""
    return 0.0 if chosen.is_cannot_tell else max(chosen.probabilities)


def text_confidence(output: GenerationOutput) -> float:
    """Returns the geometric mean of the probabilities of the tokens that the model chose, 0 where
    none was measured.
    """
    measured = output.measured_logprobs
    return math.exp(math.fsum(measured) / len(measured)) if measured else 0.0


def token_logprobs(
    output: GenerationOutput, model: LoadedModel, start: int = 0
) -> tuple[TokenLogprob, ...]:
    """Returns the tokens of a text, from number `start` on, with their log probabilities."""
    of_text = slice(start, output.stats.generated_tokens)
    measured = zip(
        output.token_ids[of_text],
        output.logprobs[of_text],
        output.top_logprobs[of_text],
        strict=False,
    )
    return tuple(
        _token_logprob(
            token_id, logprob, model, tuple(_token_logprob(*each, model) for each in top)
        )
        for token_id, logprob, top in measured
    )


def _token_logprob(
    token_id: int, logprob: float, model: LoadedModel, top: tuple[TokenLogprob, ...] = ()
) -> TokenLogprob:
    content = model.source.tokenizer.token_bytes(token_id)
    return TokenLogprob(content.decode('utf-8', 'replace'), logprob, content, top)


def json_of(output: GenerationOutput, model: LoadedModel) -> str:
    """Returns the JSON of a text that came to its end, '' for one that was cut short."""
    if output.stop_reason is not StopReason.STOP_TOKEN or output.is_cut_by_text:
        return ''
    return safe_json(model.source.tokenizer.decode(output.token_ids))
