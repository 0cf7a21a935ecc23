# SPDX-License-Identifier: Apache-2.0
"""A text that follows a grammar is the same with drafts and without, token for token, greedy and
sampled, on a scripted model and on a real network.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.built_inputs import frame
from support.given_drafts import GivenDrafts, drafts_of
from support.json_schemas import conforms

from penguin_ros.backends.base.backend import Backend
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.json_grammar import JsonGrammar, JsonGrammars, Vocabulary
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import ModelInputs, Prompt
from penguin_ros.request import StopReason
from penguin_ros.testing.scripted_backend import ScriptedBackend, ScriptedModel

pytest.importorskip('llguidance', reason='llguidance is not installed')

CONFIG = ModelConfig(device='cpu', precision='float32', max_length=512, kv_slots=1, threads=1)
SCHEMA = {
    'type': 'object',
    'properties': {
        'thing': {'type': 'string', 'minLength': 0, 'maxLength': 6},
        'colours': {
            'type': 'array',
            'items': {'enum': ['red', 'blue', 'dark blue', None]},
            'minItems': 1,
            'maxItems': 3,
        },
        'count': {'type': 'integer', 'minimum': -500, 'maximum': 500},
    },
    'required': ['colours', 'count', 'thing'],
    'additionalProperties': False,
}
SAMPLINGS = (
    GenerationConfig(max_repeats=0),
    GenerationConfig(temperature=1.5, top_k=40, seed=3, max_repeats=0),
)


@pytest.fixture(scope='module')
def checkpoint(golden_dir: Path) -> Checkpoint:
    return open_checkpoint(golden_dir / 'checkpoint')


@pytest.fixture(scope='module')
def grammar(checkpoint: Checkpoint) -> JsonGrammar:
    shape, tokenizer = checkpoint.shape, checkpoint.tokenizer
    vocabulary = Vocabulary(
        tokenizer.token_bytes, tokenizer.encode_text, shape.vocabulary_size, shape.stop_token_ids
    )
    return JsonGrammars(vocabulary).compile(json.dumps(SCHEMA))


@pytest.fixture(scope='module', params=['scripted', 'torch'])
def backend(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Iterator[Backend]:
    if request.param == 'torch':
        pytest.importorskip('torch', reason='torch is not installed')
        from penguin_ros.backends.torch.backend import TorchBackend

        opened: Backend = TorchBackend(checkpoint, CONFIG)
    else:
        opened = ScriptedBackend(CONFIG, ScriptedModel.of(checkpoint))
    opened.open()
    yield opened
    opened.close()


def question(checkpoint: Checkpoint, seed: int) -> ModelInputs:
    random, image = np.random.default_rng(seed), checkpoint.shape.image_token_id
    picture = frame(4, 6, seed=seed)
    before, after = (random.integers(0, 400, random.integers(1, 20)) for _ in range(2))
    ids = np.concatenate((before, np.full(picture.tokens, image), after)).astype(np.int64)
    return ModelInputs(Prompt('', ids, (len(before),)), (picture,), image)


def run(
    backend: Backend, checkpoint: Checkpoint, seed: int, params: SamplingParams, kind: str = ''
) -> GenerationOutput:
    """The text of a question, with drafts of a kind made from `expected`."""
    output = GenerationOutput(Detokenizer(checkpoint.tokenizer.token_bytes))
    stop = checkpoint.shape.stop_token_ids[0]
    with pytest.MonkeyPatch.context() as patch:
        drafter = None
        if kind:
            plain = run(backend, checkpoint, seed, params)
            drafter = GivenDrafts(drafts_of(plain.token_ids, stop, 400, seed)[kind])
        patch.setattr(
            'penguin_ros.generation.generate.drafter_for', lambda params, inputs, history: drafter
        )
        inputs = question(checkpoint, seed)
        texts = ''
        for step in generate(Caches(backend), inputs, params, output, itertools.count().__next__):
            texts += step.piece
            assert texts == output.text
    return output


def assert_drafts_change_nothing(
    backend: Backend, checkpoint: Checkpoint, params: SamplingParams, kind: str, seed: int
) -> None:
    plain = run(backend, checkpoint, seed, params)
    drafted = run(backend, checkpoint, seed, params, kind)
    watched = run(backend, checkpoint, seed, replace(params, logprobs=True), kind)
    assert plain.stop_reason is StopReason.STOP_TOKEN
    assert conforms(json.loads(plain.text), SCHEMA)
    assert drafted.token_ids == plain.token_ids == watched.token_ids
    assert drafted.text == plain.text == watched.text
    assert plain.stats.forward_passes < len(plain.token_ids), 'forced tokens take no pass'
    if kind == 'perfect':
        assert drafted.stats.forward_passes < plain.stats.forward_passes


@pytest.mark.parametrize('kind', ['perfect', 'partly right', 'with a stop token'])
def test_json_under_drafts_is_json_without(
    backend: Backend, checkpoint: Checkpoint, grammar: JsonGrammar, kind: str
) -> None:
    for seed, sampling in enumerate(SAMPLINGS):
        params = SamplingParams(200, checkpoint.shape.stop_token_ids, sampling, grammar=grammar)
        assert_drafts_change_nothing(backend, checkpoint, params, kind, seed)


@pytest.mark.slow
@pytest.mark.parametrize('kind', tuple(drafts_of([1], 0, 2, 0)))
def test_json_under_any_drafts_is_json_without(
    backend: Backend, checkpoint: Checkpoint, grammar: JsonGrammar, kind: str
) -> None:
    for seed in range(20):
        sampling = SAMPLINGS[seed % 2]
        params = SamplingParams(200, checkpoint.shape.stop_token_ids, sampling, grammar=grammar)
        assert_drafts_change_nothing(backend, checkpoint, params, kind, seed)


def test_log_probabilities_are_those_of_the_logits(
    backend: Backend, checkpoint: Checkpoint, grammar: JsonGrammar
) -> None:
    for facts in ({}, {'grammar': grammar}):
        params = SamplingParams(
            30, checkpoint.shape.stop_token_ids, SAMPLINGS[1], logprobs=True, keep_logits=True
        )
        output = GenerationOutput(Detokenizer(checkpoint.tokenizer.token_bytes))
        rows = []
        for step in generate(
            Caches(backend),
            question(checkpoint, 1),
            replace(params, **facts),
            output,
            itertools.count().__next__,
        ):
            rows += [] if step.logits is None else list(step.logits.astype(np.float64))
        assert len(rows) == len(output.token_ids) == len(output.logprobs)
        for row, token_id, logprob in zip(rows, output.token_ids, output.logprobs, strict=True):
            assert logprob == pytest.approx(row[token_id] - np.log(np.exp(row).sum()), abs=1e-4)


def test_forced_tokens_are_not_measured_unless_that_is_asked_for(
    backend: Backend, checkpoint: Checkpoint, grammar: JsonGrammar
) -> None:
    params = SamplingParams(200, checkpoint.shape.stop_token_ids, SAMPLINGS[0], grammar=grammar)
    output = run(backend, checkpoint, 0, params)
    assert math.isnan(output.logprobs[0]) and output.measured_logprobs
    assert len(output.measured_logprobs) < len(output.token_ids)
    assert all(logprob <= 0 for logprob in output.measured_logprobs)


@pytest.mark.parametrize('most', [1, 9, 30])
def test_a_text_that_would_go_on_ends_at_its_limit(
    backend: Backend, checkpoint: Checkpoint, grammar: JsonGrammar, most: int
) -> None:
    params = SamplingParams(most, checkpoint.shape.stop_token_ids, SAMPLINGS[0], grammar=grammar)
    whole = run(backend, checkpoint, 0, replace(params, max_tokens=200))
    cut = run(backend, checkpoint, 0, params)
    assert cut.stop_reason is StopReason.MAX_TOKENS and len(cut.token_ids) == most
    assert cut.token_ids == whole.token_ids[:most]
