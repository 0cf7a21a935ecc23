# SPDX-License-Identifier: Apache-2.0
"""The backend in between changes no number, bounds its slots and reports every call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='torch is not installed')

from penguin_ros.backends.base.backend import Backend, Chunk
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.benchmark.live.probe import DECODE, ENCODE, PREFILL, ProbedBackend
from penguin_ros.benchmark.live.scenes import clip_images
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig, VisualConfig
from penguin_ros.errors import NoFreeSlot
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.steps import run_to_end


@pytest.fixture(scope='module')
def opened(tiny_checkpoint: Path) -> Iterator[tuple[Backend, ModelInputs]]:
    checkpoint = open_checkpoint(str(tiny_checkpoint))
    backend = TorchBackend(
        checkpoint, ModelConfig(device='cpu', kv_slots=3, max_length=512, threads=1)
    )
    backend.open()
    preprocessor = Preprocessor(checkpoint.shape, checkpoint.tokenizer, VisualConfig())
    yield backend, preprocessor.images_inputs(clip_images(2, (168, 112)), 'What is there?')
    backend.close()


def test_texts_are_the_same_and_every_call_is_told(opened: tuple[Backend, ModelInputs]) -> None:
    inner, inputs = opened
    calls: list[str] = []
    probe, params = (
        ProbedBackend(inner, on_call=calls.append),
        SamplingParams(5, (), prefill_chunk=32),
    )
    ours, plain = (GenerationOutput(Detokenizer(lambda token_id: b'')) for _ in range(2))
    for backend, output in ((probe, ours), (inner, plain)):
        run_to_end(generate(Caches(backend), inputs, params, output, time.monotonic_ns))
    assert ours.token_ids == plain.token_ids
    assert calls[0] == ENCODE and calls.count(DECODE) == 4
    assert calls.count(PREFILL) == -(-len(inputs.prompt.token_ids) // 32)
    assert probe.longest_s > 0 and probe.description == inner.description


def test_slots_are_bounded_forks_included_and_come_back(
    opened: tuple[Backend, ModelInputs],
) -> None:
    inner, _ = opened
    probe = ProbedBackend(inner, most_slots=2)
    first = probe.new_slot()
    probe.forward(first, Chunk(np.arange(4)))
    second = probe.fork(first, 3)
    assert probe.slot_length(second) == 3
    for take in (probe.new_slot, lambda: probe.fork(first, 2)):
        with pytest.raises(NoFreeSlot):
            take()
    free = inner.new_slot()  # the inner backend has more
    probe.free_slot(first)
    third = probe.new_slot()
    for slot in (second, third, free):
        (probe if slot != free else inner).free_slot(slot)
