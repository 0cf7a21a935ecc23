# SPDX-License-Identifier: Apache-2.0
"""Real networks with drafts of every kind give what they give without: the logits of every step,
and the tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.built_inputs import frame
from support.given_drafts import Draft, GivenDrafts, drafts_of
from support.kernel_runs import needs_triton
from support.slow_parts import sampled

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.export.precision import BuildChoice
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import ModelInputs, Prompt

KINDS = tuple(drafts_of([1], 0, 2, 0))
CONFIG = ModelConfig(device='cpu', precision='float32', max_length=256, kv_slots=1, threads=1)
ON_GPU = replace(CONFIG, device='auto', precision='auto')
GREEDY = GenerationConfig(max_repeats=0)
MARGIN = 1e-3
COUNT = 40


@pytest.fixture(scope='module')
def checkpoint(golden_dir: Path) -> Checkpoint:
    return open_checkpoint(golden_dir / 'checkpoint')


@pytest.fixture(
    scope='module',
    params=sampled(['torch', 'onnxruntime', 'onnxruntime two-part', 'cuda'], ['onnxruntime']),
)
def backend(
    request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    if request.param == 'cuda':
        with kernels_in_numpy(checkpoint, tmp_path_factory.mktemp('golden') / 'kernels') as made:
            yield made
        return
    library, _, variant = request.param.partition(' ')
    pytest.importorskip(library, reason=f'{library} is not installed')
    if library == 'torch':
        from penguin_ros.backends.torch.backend import TorchBackend

        opened: Backend = TorchBackend(checkpoint, CONFIG)
    else:
        pytest.importorskip('onnx', reason='onnx is not installed')
        from penguin_ros.backends.onnxruntime.backend import OnnxBackend
        from penguin_ros.export.build import BuildOrder, build_bundle

        bundle = open_bundle(
            build_bundle(
                checkpoint, tmp_path_factory.mktemp('golden') / 'bundle', BuildOrder(max_length=256)
            )
        )
        opened = OnnxBackend(bundle, CONFIG, 'two_part' if variant else '')
    opened.open()
    yield opened
    opened.close()


@contextmanager
def kernels_in_numpy(checkpoint: Checkpoint, folder: Path) -> Iterator[Backend]:
    """Own kernels in float32 on a GPU that does not exist, computed in numpy."""
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.cuda_bundles import computing_machine, cuda_bundle, opened
    from support.fake_gpu.installed import remove

    bundle = cuda_bundle(checkpoint.path, folder, BuildChoice('cuda', 'float32'), 256)
    backend = opened(computing_machine(), bundle, ON_GPU)
    yield backend
    backend.close()
    remove()


@pytest.fixture
def interpreted(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    """The same, by Triton's interpreter."""
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.cuda_bundles import cuda_bundle, opened
    from support.fake_gpu.installed import Machine, used
    from support.fake_gpu.interpreted import interpreting_gpu, short_passes

    bundle = cuda_bundle(checkpoint.path, tmp_path / 'b', BuildChoice('cuda', 'float32'), 256)
    with interpreting_gpu(256 * 1024 * 1024) as gpu, used(machine := Machine(gpu=gpu)):
        short_passes(monkeypatch)
        backend = opened(machine, bundle, ON_GPU)
        yield backend
        backend.close()


def question(checkpoint: Checkpoint, seed: int) -> ModelInputs:
    """Random text around one picture."""
    random, image = np.random.default_rng(seed), checkpoint.shape.image_token_id
    picture = frame(4, 6, seed=seed)
    before, after = (random.integers(0, 400, random.integers(1, 20)) for _ in range(2))
    ids = np.concatenate((before, np.full(picture.tokens, image), after)).astype(np.int64)
    return ModelInputs(Prompt('', ids, (len(before),)), (picture,), image)


def run(
    backend: Backend | Caches,
    inputs: ModelInputs,
    params: SamplingParams,
    draft: Draft | None = None,
) -> tuple[GenerationOutput, np.ndarray]:
    """The text, and the logits of every token (none for a greedy text that keeps none)."""
    caches = backend if isinstance(backend, Caches) else Caches(backend)
    output, rows = GenerationOutput(Detokenizer(lambda token_id: b'%d ' % token_id)), []
    with pytest.MonkeyPatch.context() as patch:
        drafter = GivenDrafts(draft) if draft else None
        patch.setattr(
            'penguin_ros.generation.generate.drafter_for',
            lambda params, inputs, history: drafter,
        )
        for step in generate(caches, inputs, params, output, itertools.count().__next__):
            if step.logits is not None:
                assert len(step.logits) == len(step.token_ids)
                rows += list(step.logits)
    return output, np.array(rows)


def first_near_tie(logits: np.ndarray) -> int:
    """Returns the first step where rounding may choose."""
    ordered = np.sort(logits, axis=1)
    close = np.flatnonzero(ordered[:, -1] - ordered[:, -2] < MARGIN)
    return int(close[0]) if len(close) else len(logits)


def assert_same(
    got: GenerationOutput, logits: np.ndarray, expected: GenerationOutput, reference: np.ndarray
) -> None:
    certain = first_near_tie(reference)
    assert got.token_ids[:certain] == expected.token_ids[:certain]
    compared = min(certain + 1, len(logits), len(reference))
    errors = np.linalg.norm(logits[:compared] - reference[:compared], axis=1) / np.linalg.norm(
        reference[:compared], axis=1
    )
    assert errors.max() < 1e-4
    if certain == len(reference):
        assert (got.text, got.stop_reason) == (expected.text, expected.stop_reason)


def assert_drafts_change_nothing(
    backend: Backend, checkpoint: Checkpoint, kind: str, seeds: range, count: int = COUNT
) -> None:
    """With and without kept logits; a token that the text contains ends every second text."""
    certain = 0
    for seed in seeds:
        inputs = question(checkpoint, seed)
        plain, _ = run(backend, inputs, SamplingParams(count, (), GREEDY))
        stops = (plain.token_ids[25],) if seed % 2 else ()
        params = SamplingParams(count, stops, GREEDY, keep_logits=True)
        expected, reference = run(backend, inputs, params)
        sure = first_near_tie(reference)
        draft = drafts_of(plain.token_ids, max(stops, default=0), 400, seed)[kind]
        got, logits = run(backend, inputs, params, draft)
        assert_same(got, logits, expected, reference)
        chosen, _ = run(backend, inputs, replace(params, keep_logits=False), draft)
        assert chosen.token_ids[:sure] == expected.token_ids[:sure]
        certain += sure
        if kind == 'perfect' and sure == len(reference):
            assert (
                got.stats.forward_passes == chosen.stats.forward_passes == 2
            )  # the prompt's, and one for all that follows
            assert got.stats.accepted_tokens >= len(got.token_ids) - 2
    assert certain > len(seeds) * count // 4


@pytest.mark.parametrize('kind', KINDS)
def test_any_draft_leaves_logits_and_tokens_as_they_are(
    backend: Backend, checkpoint: Checkpoint, kind: str
) -> None:
    assert_drafts_change_nothing(backend, checkpoint, kind, range(6))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('kind', KINDS)
def test_any_draft_leaves_logits_and_tokens_of_many_texts_alone(
    backend: Backend, checkpoint: Checkpoint, kind: str
) -> None:
    assert_drafts_change_nothing(backend, checkpoint, kind, range(100, 160))


@needs_triton
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('kind', ['perfect', 'partly right'])
def test_the_kernels_themselves_give_with_a_draft_what_they_give_without(
    interpreted: Backend, checkpoint: Checkpoint, kind: str
) -> None:
    # A text without a choice that rounding could make.
    assert_drafts_change_nothing(interpreted, checkpoint, kind, range(2, 3), 12)


def test_a_slot_in_which_drafts_were_rejected_serves_the_next_prompt(
    backend: Backend, checkpoint: Checkpoint
) -> None:
    for seed in range(6):
        first, params = (
            question(checkpoint, seed),
            SamplingParams(COUNT, (), GREEDY, keep_logits=True),
        )
        plain, _ = run(backend, first, params)
        caches = Caches(backend, 1 << 20, True)
        said, _ = run(
            caches, first, params, drafts_of(plain.token_ids, 0, 400, seed)['partly right']
        )
        ids = np.concatenate((first.prompt.token_ids, said.token_ids, [5, 6, 7]))
        then = replace(first, prompt=Prompt('', ids, first.prompt.image_starts))
        got, logits = run(caches, then, params)
        assert got.stats.reused_tokens == len(first.prompt.token_ids) + len(said.token_ids) - 1
        caches.prefix_cache.free_kept()
        assert_same(got, logits, *run(backend, then, params))


def test_a_drafted_text_draws_the_same_random_tokens(
    backend: Backend, checkpoint: Checkpoint
) -> None:
    sampling, same = GenerationConfig(temperature=1.5, top_k=30, seed=5, max_repeats=0), 0
    for seed in range(6):
        inputs, params = (
            question(checkpoint, seed),
            SamplingParams(COUNT, (), sampling, seed_offset=seed),
        )
        plain, _ = run(backend, inputs, params)
        for kind in ('perfect', 'partly right', 'random'):
            got, _ = run(backend, inputs, params, drafts_of(plain.token_ids, 0, 400, seed)[kind])
            same += got.token_ids == plain.token_ids
            assert (
                kind != 'perfect'
                or got.token_ids != plain.token_ids
                or got.stats.forward_passes == 2
            )
    assert same >= 16  # of 18: where a draw lies within rounding of a border, two texts may part
