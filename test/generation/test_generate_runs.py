# SPDX-License-Identifier: Apache-2.0
"""A backend that writes several tokens at once gives the text that it gives one by one: it ends
where it ends, and the slot holds what it holds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from support.built_inputs import inputs

from penguin_ros.backends.base.backend import Chunk, GreedyToken
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.errors import InvalidLogits
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.testing.scripted_backend import ScriptedBackend

QUESTION = inputs([1, 2, 3])
STOP = 7
SCRIPT = [30, 31, 32, 33, 34, 35, 36, STOP, 38, 39, 40, 41, 42]


class Watched(ScriptedBackend):
    """Notes the runs; the token after `spoilt` has logits that are no numbers."""

    spoilt = -1

    def __init__(self, greedy_steps: int) -> None:
        super().__init__(
            ModelConfig(max_length=64, kv_slots=1, greedy_steps=greedy_steps), script=SCRIPT
        )
        self.runs: list[int] = []

    def forward_greedy_run(self, slot: int, token_id: int, count: int) -> list[GreedyToken]:
        self.runs.append(count)
        return super().forward_greedy_run(slot, token_id, count)

    def forward_greedy(self, slot: int, chunk: Chunk) -> GreedyToken:
        token = super().forward_greedy(slot, chunk)
        if chunk.token_ids[-1] == self.spoilt:
            return GreedyToken(token.token_id, math.nan)
        return token


@dataclass
class Text:
    """What came of a generation: the text, by step what the slot held, the error."""

    output: GenerationOutput
    held: list[list[int]] = field(default_factory=list)
    error: str = ''


def written(backend: Watched, max_tokens: int = 20, stops: tuple[int, ...] = (STOP,)) -> Text:
    backend.open()
    params = SamplingParams(max_tokens, stops, GenerationConfig(max_repeats=0))
    output = GenerationOutput(Detokenizer(lambda token_id: b'%d ' % token_id))
    text = Text(output)
    try:
        for _ in generate(Caches(backend), QUESTION, params, output, itertools.count().__next__):
            text.held += backend.held().values()
    except InvalidLogits as error:
        text.error = error.what
    backend.close()
    return text


@pytest.mark.parametrize('steps', (2, 3, 4, 16))
@pytest.mark.parametrize('max_tokens', (1, 2, 5, 6, 20))
def test_a_text_ends_where_it_ends_one_by_one(steps: int, max_tokens: int) -> None:
    for stops in ((STOP,), (31,), (34,), ()):
        alone, several = Watched(1), Watched(steps)
        expected, found = (written(each, max_tokens, stops) for each in (alone, several))
        assert found.output.token_ids == expected.output.token_ids
        assert found.output.text == expected.output.text
        assert found.output.stop_reason is expected.output.stop_reason
        assert found.held[-1] == expected.held[-1]
        assert not alone.runs and set(several.runs) <= {steps}
        assert bool(several.runs) == (max_tokens > steps)


def test_between_steps_the_slot_holds_all_but_the_newest_token() -> None:
    text = written(Watched(4))
    ids = [*QUESTION.prompt.token_ids.tolist(), *text.output.token_ids]
    assert all(held == ids[: len(held)] for held in text.held)
    assert len(text.held) < 5 and text.held[-1] == ids[:-1]


@pytest.mark.parametrize('spoilt', SCRIPT[:7])
def test_logits_that_are_no_numbers_end_a_text_after_what_was_sound(spoilt: int) -> None:
    found = []
    for steps in (1, 4):
        backend = Watched(steps)
        backend.spoilt = spoilt
        found.append(written(backend))
    assert found[1].output.token_ids == found[0].output.token_ids
    assert found[1].error == found[0].error != ''


def test_sampling_and_kept_logits_are_looked_at_one_by_one() -> None:
    for params in (
        SamplingParams(8, (), GenerationConfig(temperature=1.0, max_repeats=0)),
        SamplingParams(8, (), GenerationConfig(max_repeats=0), keep_logits=True),
    ):
        backend = Watched(4)
        backend.open()
        output = GenerationOutput(Detokenizer(lambda token_id: b'%d ' % token_id))
        list(generate(Caches(backend), QUESTION, params, output, itertools.count().__next__))
        assert len(output.token_ids) == 8 and not backend.runs
        assert np.unique(output.token_ids).size > 1
        backend.close()
