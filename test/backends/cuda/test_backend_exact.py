# SPDX-License-Identifier: Apache-2.0
"""Drafts of every kind, and tokens written several at once, give what one row after another gives:
logits within rounding of 16 bits, and the same tokens up to a choice that lies within it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.built_inputs import inputs
from support.fake_gpu.cuda_bundles import (
    computing_machine,
    cuda_bundle,
    opened,
    small_checkpoint,
)
from support.fake_gpu.installed import remove
from support.given_drafts import Draft, GivenDrafts, drafts_of
from support.slow_parts import sampled

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.cuda.backend import CudaBackend
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams

KINDS = tuple(drafts_of([1], 0, 2, 0))
COUNT = 24
USUAL, MOST = 5e-3, 5e-2
"""Errors of all logits of a step together, in the middle and at most: one row has activations in
float32, several in float16, and a small random network makes much of little at some places.
"""


@pytest.fixture(scope='module')
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CudaBackend]:
    folder = tmp_path_factory.mktemp('made')
    bundle = cuda_bundle(small_checkpoint(folder / 'checkpoint'), folder / 'bundle')
    backend = opened(
        computing_machine(), bundle, ModelConfig(max_length=96, kv_slots=1, greedy_steps=4)
    )
    yield backend
    backend.close()
    remove()


def run(
    backend: Backend, seed: int, draft: Draft | None = None, keep_logits: bool = True
) -> tuple[list[int], np.ndarray]:
    """The text that follows a random prompt, and the logits of every token."""
    prompt = inputs(np.random.default_rng(seed).integers(0, 400, 9).tolist())
    params = SamplingParams(COUNT, (), GenerationConfig(max_repeats=0), keep_logits=keep_logits)
    output, rows = GenerationOutput(Detokenizer(lambda token_id: b'x')), []
    with pytest.MonkeyPatch.context() as patch:
        drafter = GivenDrafts(draft) if draft else None
        patch.setattr('penguin_ros.generation.generate.drafter_for', lambda *_: drafter)
        steps = generate(Caches(backend), prompt, params, output, itertools.count().__next__)
        for step in steps:
            rows += [] if step.logits is None else list(step.logits)
    return output.token_ids, np.array(rows)


@pytest.mark.parametrize('kind', sampled(KINDS, ('partly right',)))
def test_a_draft_changes_logits_within_rounding_and_tokens_only_there(
    backend: CudaBackend, kind: str
) -> None:
    alike = 0
    for seed in range(3):
        ids, logits = run(backend, seed)
        got, found = run(backend, seed, drafts_of(ids, 0, 400, seed)[kind])
        same = next((i for i in range(COUNT) if got[i] != ids[i]), COUNT)
        compared = min(same + 1, COUNT)  # a token is chosen after its logits
        difference = found[:compared] - logits[:compared]
        errors = np.linalg.norm(difference, axis=1) / np.linalg.norm(logits[:compared], axis=1)
        assert errors.max() <= MOST and np.median(errors) <= USUAL
        if same < COUNT:
            best, second = np.sort(logits[same])[[-1, -2]]
            assert best - second <= 2 * np.abs(difference).max()
        alike += same
    assert alike > COUNT


def test_tokens_written_several_at_once_are_those_written_one_by_one(backend: CudaBackend) -> None:
    before = backend.stats().counts['steps with CUDA graph']
    several = [run(backend, seed, keep_logits=False)[0] for seed in range(2)]
    graphs = backend.stats().counts['steps with CUDA graph'] - before
    assert graphs <= 2 * (1 + COUNT // 4 + 3), 'four tokens are one graph'
    assert several == [run(backend, seed)[0] for seed in range(2)]
