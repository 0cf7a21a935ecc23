# SPDX-License-Identifier: Apache-2.0
"""Inputs can be made in bounded steps, with the same result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import VisualConfig
from penguin_ros.frame import Clip, Frame
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import InputSteps, Preprocessor


def run(steps: InputSteps) -> tuple[int, ModelInputs]:
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return count, end.value
        count += 1


@pytest.mark.parametrize('policy', ['reference', 'fixed'])
def test_a_clip_takes_two_steps_per_frame_and_gives_the_same_inputs(
    tiny_checkpoint: Path, policy: str
) -> None:
    checkpoint, random = open_checkpoint(tiny_checkpoint), np.random.default_rng(3)
    images = [random.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(4)]
    clip = Clip('front', tuple(Frame(number, image) for number, image in enumerate(images)))
    preprocessor = Preprocessor(checkpoint.shape, checkpoint.tokenizer, VisualConfig(policy=policy))
    count, stepped = run(preprocessor.clip_steps(clip, 'What?'))
    whole = preprocessor.clip_inputs(clip, 'What?')
    assert count == 8 and len(stepped.frames) == 4
    assert (
        np.array_equal(stepped.prompt.token_ids, whole.prompt.token_ids)
        and stepped.frame_indices == whole.frame_indices
    )
    assert all(
        np.array_equal(one.pixels, other.pixels)
        for one, other in zip(stepped.frames, whole.frames, strict=True)
    )


def test_images_take_a_step_each(tiny_checkpoint: Path) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint)
    preprocessor = Preprocessor(checkpoint.shape, checkpoint.tokenizer, VisualConfig())
    count, inputs = run(preprocessor.images_steps([np.zeros((60, 80, 3), np.uint8)] * 3, 'What?'))
    assert count == len(inputs.frames) == 3
