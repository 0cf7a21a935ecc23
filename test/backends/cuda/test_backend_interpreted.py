# SPDX-License-Identifier: Apache-2.0
"""The kernels themselves, in Triton's interpreter, launched by the backend on a GPU that does not
exist: they give what they give in numpy, which most tests of the backend use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.backend_kinds import frame, run_to_end, tokens
from support.fake_gpu.cuda_bundles import (
    computing_machine,
    cuda_bundle,
    opened,
    small_checkpoint,
)
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.interpreted import interpreting_gpu, short_passes
from support.kernel_runs import needs_triton

from penguin_ros.backends.base.backend import Branch, Chunk, FeatureSpan
from penguin_ros.backends.cuda.backend import CudaBackend
from penguin_ros.config import ModelConfig
from penguin_ros.export.precision import BuildChoice

pytestmark = [needs_triton, pytest.mark.slow, pytest.mark.timeout(1500)]

ARENA_BYTES = 192 * 1024 * 1024
CONFIG = ModelConfig(max_length=96, kv_slots=2)


@pytest.fixture(autouse=True)
def passes_are_short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use(Machine())
    short_passes(monkeypatch)
    yield
    remove()


def everything(backend: CudaBackend) -> list[np.ndarray]:
    """Features of both stages; logits of a prompt with them, of drafts, of single tokens, of
    branches; what the device chose.
    """
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    slot, ids = backend.new_slot(), tokens(3, 21)
    found = [backend.read_features(features, stage) for stage in ('encoded', 'projected')]
    prompt = Chunk(ids, (FeatureSpan(5, features, 0, 6),))
    found.append(backend.forward(slot, prompt, [0, 10, 20]))
    for seed in range(3):
        found.append(backend.forward(slot, Chunk(tokens(seed, 1)), [-1]))
    found.append(backend.forward(slot, Chunk(tokens(9, 4)), range(4)))
    branches = [Branch(tokens(seed, 3), (0, 2)) for seed in (4, 5)]
    found += backend.forward_branches(slot, branches)
    chosen = backend.forward_greedy(backend.fork(slot, 12), Chunk(tokens(7, 1)))
    found.append(np.array([chosen.token_id, chosen.logit], np.float32))
    return found


@pytest.mark.parametrize(
    ('choice', 'tolerance'),
    [
        (BuildChoice('cuda', 'float16'), 2e-2),
        (BuildChoice('cuda', 'int4', vision='int8'), 2e-2),
        (BuildChoice('cuda', 'float32'), 1e-5),
        (BuildChoice('cuda', 'int4', vision='int8', compute='float32'), 1e-5),
    ],
    ids=lambda value: (
        f'{value.precision} {value.compute}' if isinstance(value, BuildChoice) else ''
    ),
)
def test_triton_and_numpy_agree(tmp_path: Path, choice: BuildChoice, tolerance: float) -> None:
    checkpoint = small_checkpoint(tmp_path / 'checkpoint')
    bundle = cuda_bundle(checkpoint, tmp_path / 'bundle', choice)
    reference = opened(computing_machine(), bundle, CONFIG)
    expected = everything(reference)
    reference.close()
    with interpreting_gpu(ARENA_BYTES) as gpu:
        backend = opened(Machine(gpu=gpu), bundle, CONFIG)
        found = everything(backend)
        backend.close()
        ran = set(gpu.executor.runs)  # type: ignore[attr-defined]
    assert {'one.attend', 'few.attend_masked', 'many.gated', 'encoder.attend'} <= ran
    for got, wanted in zip(found, expected, strict=True):
        assert np.linalg.norm(got - wanted) <= tolerance * np.linalg.norm(wanted)
