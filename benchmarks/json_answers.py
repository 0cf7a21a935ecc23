# SPDX-License-Identifier: Apache-2.0
"""What an answer in JSON costs, on each backend and in one run.

A plain greedy text lets the backend choose each token on its device (`forward_greedy`); a schema
needs the logits of every token that the model chooses, and a mask. The first table has the
milliseconds of one decode step in each way, interleaved. The second has whole answers to a schema:
tokens, passes, and what forced tokens save.

    python benchmarks/json_answers.py engines/penguin_sim BUNDLE ...
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from markdown_table import print_table

from penguin_ros.backends.base.backend import Backend, Chunk
from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.engine.model import Opened, open_target
from penguin_ros.benchmark.machine import machine
from penguin_ros.benchmark.tasks import Target
from penguin_ros.config import GenerationConfig
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.json_grammar import JsonGrammars, Vocabulary
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.sampler import logprob_of, new_random_stream, sample
from penguin_ros.model_inputs import ModelInputs, Prompt

POSITION, SEED = 700, 1
SCHEMA = json.dumps(
    {
        'type': 'object',
        'properties': {
            'things': {
                'type': 'array',
                'items': {
                    'type': 'object',
                    'properties': {
                        'colour': {'enum': ['red', 'green', 'blue', 'yellow', 'cyan']},
                        'shape': {'enum': ['box', 'ball', 'cone', 'cylinder']},
                        'is_moving': {'type': 'boolean'},
                    },
                    'required': ['colour', 'shape', 'is_moving'],
                    'additionalProperties': False,
                },
                'minItems': 2,
                'maxItems': 3,
            },
            'sentence': {'type': 'string', 'maxLength': 80},
        },
        'required': ['things', 'sentence'],
        'additionalProperties': False,
    }
)
TEXT = '{"type": "string", "minLength": 4000}'
"""A schema whose masks allow nearly every token, the dearest kind."""

GREEDY = GenerationConfig(max_repeats=0)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('targets', nargs='+', help='bundles and checkpoints')
    parser.add_argument('--rounds', type=int, default=40, help='(default: %(default)s)')
    return parser.parse_args()


def grammars_of(opened: Opened) -> tuple[JsonGrammars, float]:
    """The grammars of a model, and the seconds that reading its vocabulary took."""
    start = time.perf_counter()
    tokenizer, shape = opened.model.tokenizer, opened.model.shape
    made = JsonGrammars(
        Vocabulary(
            tokenizer.token_bytes,
            tokenizer.encode_text,
            opened.backend.description.vocabulary_size,
            shape.stop_token_ids,
        )
    )
    return made, time.perf_counter() - start


def step_times(opened: Opened, grammars: JsonGrammars, rounds: int) -> dict[str, Any]:
    """Median milliseconds of one decode step in each way."""
    backend = opened.backend
    slot, one = filled_slot(backend), Chunk(np.array([5], np.int64))
    random, constraint = new_random_stream(0), grammars.compile(TEXT).begin()
    for token_id in constraint.forced():
        constraint.accept(token_id)
    kept: dict[str, Any] = {}

    def timed(name: str, work: Callable[..., Any], *given: Any) -> Any:
        start = time.perf_counter()
        result = work(*given)
        kept.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
        if backend.slot_length(slot) > POSITION:
            backend.truncate(slot, POSITION)
        return result

    for _ in range(rounds):
        timed('greedy on the device', backend.forward_greedy, slot, one)
        row = timed('its logits on the host', backend.forward, slot, one, (-1,))[0]
        timed('+ choice', sample, row, GREEDY, random)
        allowed = timed('+ mask', constraint.allowed)
        timed('+ choice among allowed', sample, row, GREEDY, random, allowed)
        timed('+ log probability', logprob_of, row, 5)
    backend.free_slot(slot)
    return {name: statistics.median(times[2:]) for name, times in kept.items()}


def filled_slot(backend: Backend) -> int:
    """A slot that holds POSITION random tokens."""
    ids = np.random.default_rng(SEED).integers(0, 300, POSITION)
    slot = backend.new_slot()
    backend.forward(slot, Chunk(ids.astype(np.int64)))
    return slot


def answer_costs(opened: Opened, grammars: JsonGrammars) -> dict[str, Any]:
    """One answer to the schema, and as many tokens of plain greedy text."""
    ids = np.random.default_rng(SEED).integers(0, 300, 60).astype(np.int64)
    inputs = ModelInputs(Prompt('', ids), (), opened.model.shape.image_token_id)
    stops = opened.model.shape.stop_token_ids
    start = time.perf_counter()
    grammar = grammars.compile(SCHEMA)
    compiled_ms = 1e3 * (time.perf_counter() - start)

    def run(params: SamplingParams) -> tuple[GenerationOutput, float]:
        output = GenerationOutput(Detokenizer(opened.model.tokenizer.token_bytes))
        for _ in generate(Caches(opened.backend), inputs, params, output, time.monotonic_ns):
            pass
        return output, output.stats.decode_ns / 1e9

    written, seconds = run(SamplingParams(400, stops, GREEDY, grammar=grammar))
    json.loads(written.text)
    count = len(written.token_ids)
    plain, plain_seconds = run(SamplingParams(count, (), GREEDY))
    return {
        'compile ms': compiled_ms,
        'tokens': count,
        'passes': written.stats.forward_passes,
        'JSON s': seconds,
        'as many tokens of plain text s': plain_seconds,
    }


def main() -> None:
    """Measures every target and prints both tables."""
    arguments = parsed()
    steps, answers = [], []
    for target in arguments.targets:
        opened = open_target(Target(target))
        description = opened.backend.description
        what = {
            'model': opened.model.name,
            'backend': f'{description.name} {description.precision}',
            'vocabulary': description.vocabulary_size,
        }
        grammars, seconds = grammars_of(opened)
        costs = step_times(opened, grammars, arguments.rounds)
        steps.append({**what, **costs})
        answers.append({**what, 'vocabulary s': seconds, **answer_costs(opened, grammars)})
        opened.backend.close()
    print(f'{json.dumps(machine(usable_cores()))}\n')
    print_table(steps)
    print()
    print_table(answers)


if __name__ == '__main__':
    main()
