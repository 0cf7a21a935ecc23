# SPDX-License-Identifier: Apache-2.0
"""Generations on a scripted backend that counts what it computes, each checked against one that
reuses nothing.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
from support.built_inputs import frame, inputs

from penguin_ros.backends.base.backend import Chunk, Features
from penguin_ros.config import GenerationConfig, ModelConfig
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.model_inputs import FramePatches, ModelInputs
from penguin_ros.testing.scripted_backend import ScriptedBackend, ScriptedFeatures

FIRST, SECOND, THIRD = (frame(4, 6, seed=seed) for seed in (1, 2, 3))
PARAMS = SamplingParams(4, (), GenerationConfig(max_repeats=0), prefill_chunk=8)


class CountingBackend(ScriptedBackend):
    """Counts the frames it encoded to the end and the positions it computed."""

    def __init__(self, slots: int = 3) -> None:
        super().__init__(ModelConfig(max_length=96, kv_slots=slots, encode_patches=8))
        self.encoded: list[bytes] = []
        self.computed = 0
        self.handles: list[weakref.ref[Features]] = []

    def _features_of(self, frame: FramePatches) -> ScriptedFeatures:
        self.encoded.append(frame.key)
        features = super()._features_of(frame)
        self.handles.append(weakref.ref(features))
        return features

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> np.ndarray:
        logits = super().forward(slot, chunk, logits_indices)
        self.computed += len(chunk.token_ids)
        return logits

    def forget_counts(self) -> None:
        self.encoded, self.computed = [], 0


def started(caches: Caches, asked: ModelInputs, output: GenerationOutput | None = None) -> Iterator:
    output = output or new_output()
    return generate(caches, asked, PARAMS, output, itertools.count().__next__)


def new_output() -> GenerationOutput:
    return GenerationOutput(Detokenizer(lambda token: b'x'))


def answered(caches: Caches, asked: ModelInputs) -> GenerationOutput:
    output = new_output()
    for _ in started(caches, asked, output):
        pass
    alone = CountingBackend()
    alone.open()
    expected = new_output()
    for _ in started(Caches(alone), asked, expected):
        pass
    assert output.token_ids == expected.token_ids
    return output


def question(*words: int, frames: Sequence[FramePatches] = (FIRST, SECOND)) -> ModelInputs:
    return inputs([1, *itertools.chain.from_iterable((each, 2) for each in frames), *words])
