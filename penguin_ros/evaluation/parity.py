# SPDX-License-Identifier: Apache-2.0
"""Runs golden cases through preprocessing, network and generation loop, and compares every stage
with the reference.

Each stage gets our own results of the stages before it. There are two passes over the network. In
the first the reference's tokens are fed (teacher forcing), chunk by chunk and then one by one
through the KV cache, so that the logits of every step can be compared whatever a near tie did. The
second is the generation loop as it serves requests, greedy, with its own tokens. An argmax or a
token may differ where the logits of the two candidates are closer than the margin of the tolerance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk, Features, Logits
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.console import progress_bar, status_line
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation import parity_inputs
from penguin_ros.evaluation.agreement import Array, cosine, margins, relative_error
from penguin_ros.evaluation.golden import GoldenCase
from penguin_ros.evaluation.parity_inputs import input_stages, inputs_of
from penguin_ros.evaluation.stage_results import (
    ParityRun,
    StageResult,
    Tolerance,
    Verdict,
    identical,
    relative,
    reported,
    reported_perplexity,
    reported_tokens,
    same_tokens,
    tolerance_of,
    within,
)
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.requests.loaded_model import Model, open_model
from penguin_ros.steps import run_to_end

STAGES = (
    *parity_inputs.STAGES,
    'encoder',
    'projector',
    'prompt argmax',
    'last logits',
    'step logits',
    'step tokens',
    'perplexity',
    'generation',
)
_LOGITS_HELD = 1 << 25
"""The most logits that are asked for in one chunk: 128 MiB in float32."""


@dataclass(frozen=True)
class ParityModel:
    """What the cases run on: an open `backend` on the `source`, which gives the tokenizer and the
    sizes. `prefill_chunk` is in prompt positions.
    """

    backend: Backend
    source: Model
    tolerance: Tolerance
    prefill_chunk: int


def compare_all(cases: Sequence[GoldenCase], config: ModelConfig) -> ParityRun:
    """Opens the model that `config` names, compares every case and closes it."""
    source = open_model(config, status_line)
    backend = make_backend(config, source)
    try:
        description = backend.open()
        tolerance = tolerance_of(description.precision)
        chunk = config.prefill_chunk or description.prefill_chunk
        model = ParityModel(backend, source, tolerance, chunk)
        results: dict[str, list[StageResult]] = {}
        with progress_bar('cases', len(cases)) as show:
            for count, case in enumerate(cases):
                show(count, case.name)
                results[case.name] = compare(case, model)
        return ParityRun(description, results)
    finally:
        backend.close()


def compare(case: GoldenCase, model: ParityModel) -> list[StageResult]:
    """Compares every stage of one case, in the order of STAGES. After an error the stages that are
    left count as not reached.
    """
    results: list[StageResult] = []
    try:
        inputs = inputs_of(case, model.source)
        results += input_stages(case, inputs, model.tolerance)
        features = run_to_end(model.backend.encode(inputs.frames)) if inputs.frames else []
        results += _feature_stages(case, features, model)
        results += _forced_stages(case, inputs, features, model)
        results.append(_generation(case, inputs, model))
    except PenguinError as error:
        results.append(StageResult(STAGES[len(results)], Verdict.FAIL, note=str(error)))
        results += [StageResult(stage, Verdict.NOT_REACHED) for stage in STAGES[len(results) :]]
    return results


def _feature_stages(
    case: GoldenCase, features: Sequence[Features], model: ParityModel
) -> list[StageResult]:
    results = []
    for stage, name, key in (
        ('encoder', 'encoded', 'vision_features'),
        ('projector', 'projected', 'projected'),
    ):
        reference = case.get(key)
        rows = (
            []
            if reference is None
            else [model.backend.read_features(item, name) for item in features]
        )
        ours = np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
        results.append(
            relative(stage, ours, reference, model.tolerance.features)
            if model.tolerance.is_judged
            else reported(stage, ours, reference)
        )
    return results


def _forced_stages(
    case: GoldenCase, inputs: ModelInputs, features: Sequence[Features], model: ParityModel
) -> list[StageResult]:
    """Compares the prompt and the steps with the reference's tokens fed."""
    slot = model.backend.new_slot()
    try:
        ours = _prompt_pass(case, inputs, features, slot, model)
        prompt = _prompt_stages(
            ours, case.get('logits_argmax'), case.get('logits_last'), model.tolerance
        )
        return [*prompt, *_step_stages(case, ours.last, slot, model)]
    finally:
        model.backend.free_slot(slot)


@dataclass(frozen=True, eq=False)
class PromptPass:
    """What our network makes of a prompt: `best` (n,) is the token it prefers behind each position,
    `behind` (n,) how far the reference's choice lies behind that in logits, and `last`
    (vocabulary,) are the logits of the last position.
    """

    best: Array
    behind: Array
    last: Logits


def _prompt_pass(
    case: GoldenCase,
    inputs: ModelInputs,
    features: Sequence[Features],
    slot: int,
    model: ParityModel,
) -> PromptPass:
    vocabulary_size = model.backend.description.vocabulary_size
    reference = case.get('logits_argmax')
    has_signature = reference is not None and reference.shape == inputs.prompt.token_ids.shape
    best: list[Array] = []
    behind: list[Array] = []
    start = 0
    for chunk in prompt_chunks(
        inputs, features, max(1, min(model.prefill_chunk, _LOGITS_HELD // vocabulary_size))
    ):
        logits = model.backend.forward(slot, chunk, range(len(chunk.token_ids)))
        rows = np.arange(len(logits))
        best.append(logits.argmax(axis=-1))
        choice = reference[start + rows] if reference is not None and has_signature else best[-1]
        behind.append(
            logits[rows, best[-1]] - logits[rows, np.clip(choice, 0, vocabulary_size - 1)]
        )
        start += len(rows)
    return PromptPass(np.concatenate(best), np.concatenate(behind), logits[-1])


def _prompt_stages(
    ours: PromptPass, best: Array | None, last: Array | None, tolerance: Tolerance
) -> list[StageResult]:
    if tolerance.is_judged:
        return [
            _argmax(ours, best, tolerance.margin),
            relative('last logits', ours.last, last, tolerance.logits),
        ]
    return [
        reported_tokens(
            'prompt argmax', ours.best.tolist(), None if best is None else best.tolist()
        ),
        reported('last logits', ours.last, last),
    ]


def _argmax(ours: PromptPass, reference: Array | None, margin: float) -> StageResult:
    """Counts the positions whose argmax differs. Near ties are left out and told: there our own
    logits of the two candidates differ by less than twice `margin`, since one may have risen by it
    and the other fallen.
    """
    if reference is None or reference.shape != ours.best.shape:
        return identical('prompt argmax', ours.best, reference)
    differs = ours.best != reference
    near_ties = differs & (ours.behind < 2 * margin)
    note = ''
    if near_ties.any():
        widest = int(np.where(near_ties, ours.behind, -1).argmax())
        note = f'{int(near_ties.sum())} near ties left out, the widest {ours.behind[widest]:.1e}'
        note += f' at position {widest}'
    wrong = differs & ~near_ties
    if wrong.any():
        note = f'first at position {int(np.flatnonzero(wrong)[0])}; {note}'.rstrip('; ')
    return within('prompt argmax', float(wrong.sum()), 0, note)


def _step_stages(
    case: GoldenCase, last: Logits, slot: int, model: ParityModel
) -> list[StageResult]:
    """Compares logits and token of every step. Step 0 is the end of the prompt; step i follows the
    reference's token i - 1.
    """
    fed = case.teacher_ids
    reference = case.get('step_logits')
    count = len(fed) if reference is None else min(len(reference), len(fed) + 1)
    rows = [last]
    for token_id in fed[: count - 1]:
        rows.append(model.backend.forward(slot, Chunk(np.array([token_id], np.int64)), (-1,))[0])
    ours = np.stack(rows)
    best = [int(row.argmax()) for row in ours]
    if model.tolerance.is_judged:
        stages = [
            _step_logits(ours, reference, model.tolerance.logits),
            same_tokens(
                'step tokens', best, fed or None, leads_of(case, ours), model.tolerance.margin
            ),
        ]
    else:
        stages = [
            _reported_steps(ours, reference),
            reported_tokens('step tokens', best, fed or None),
        ]
    return [*stages, reported_perplexity('perplexity', ours, reference, fed)]


def _step_logits(ours: Array, reference: Array | None, tolerance: float) -> StageResult:
    """The error is that of the worst step."""
    if reference is None or reference[: len(ours)].shape != ours.shape:
        return relative('step logits', ours, reference, tolerance)
    errors = [relative_error(own, other) for own, other in zip(ours, reference, strict=False)]
    worst = int(np.argmax(errors))
    note = f'worst of {len(errors)} steps: {worst}; median {np.median(errors):.1e}'
    if len(reference) > len(ours):
        note += f'; {len(reference) - len(ours)} more have no token before them'
    return within('step logits', errors[worst], tolerance, note)


def _reported_steps(ours: Array, reference: Array | None) -> StageResult:
    """Reports cosine and error over all steps together."""
    if reference is None or reference[: len(ours)].shape != ours.shape:
        return reported('step logits', ours, reference)
    worst = min(cosine(own, other) for own, other in zip(ours, reference, strict=False))
    return reported('step logits', ours, reference[: len(ours)], f'worst step {worst:.5f}')


def leads_of(case: GoldenCase, ours: Array) -> Array:
    """The margin of every step: the reference's where the case has margins or logits, else our
    own.
    """
    given = case.get('generated_margins')
    logits = case.get('step_logits')
    return given if given is not None else margins(ours if logits is None else logits)


def _generation(
    case: GoldenCase,
    inputs: ModelInputs,
    model: ParityModel,
    clock: Callable[[], int] = time.monotonic_ns,
) -> StageResult:
    """Compares the tokens of our own generation loop: greedy, with its stop tokens, and without its
    stop at repetitions.
    """
    reference = case.teacher_ids
    if not reference:
        return StageResult('generation', Verdict.NOT_GIVEN)
    params = SamplingParams(
        len(reference),
        model.source.shape.stop_token_ids,
        GenerationConfig(temperature=0.0, max_repeats=0),
        model.prefill_chunk,
        keep_logits=True,
    )
    steps: list[Logits] = []
    output = GenerationOutput(Detokenizer(model.source.tokenizer.token_bytes))
    for step in generate(Caches(model.backend), inputs, params, output, clock):
        if step.logits is not None:
            steps += list(step.logits)
    ids = output.token_ids
    if not model.tolerance.is_judged:
        return reported_tokens('generation', ids, reference)
    return same_tokens(
        'generation', ids, reference, leads_of(case, np.stack(steps)), model.tolerance.margin
    )
