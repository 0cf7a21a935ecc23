# SPDX-License-Identifier: Apache-2.0
"""The key of a frame stands for its pixels and its grid; a prompt and its frames fit together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.built_inputs import frame, inputs

from penguin_ros.errors import TokenCountMismatch
from penguin_ros.frame import FrameType
from penguin_ros.model_inputs import ModelInputs

FIRST, SECOND = (frame(4, 4, seed=seed) for seed in (1, 2))


def test_the_type_of_a_frame_does_not_count_its_grid_does() -> None:
    assert dataclasses.replace(FIRST, type=FrameType.INTERMEDIATE).key == FIRST.key
    assert dataclasses.replace(FIRST, rows=2, columns=8).key != FIRST.key
    assert dataclasses.replace(FIRST, merge_size=1).key != FIRST.key


def test_pixels_are_made_when_they_are_asked_for_once() -> None:
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return FIRST.pixels

    lazy = dataclasses.replace(FIRST, source=make, content=b'x')
    assert lazy.tokens == 4 and len(lazy.key) == 16 and made == []
    assert np.array_equal(lazy.pixels, FIRST.pixels) and lazy.pixels is lazy.pixels and made == [1]


def test_without_given_content_the_pixels_are_the_content() -> None:
    assert frame(4, 4, seed=1).key == FIRST.key != SECOND.key
    changed = FIRST.pixels.copy()
    changed[3, 100] += 1
    assert dataclasses.replace(FIRST, source=changed).key != FIRST.key


def test_a_prompt_with_another_number_of_placeholders_than_visual_tokens_is_refused() -> None:
    whole = inputs([1, FIRST, 2])
    assert whole.visual_tokens == 4
    for frames in ((), (FIRST, SECOND), (frame(4, 6),)):
        with pytest.raises(TokenCountMismatch):
            ModelInputs(whole.prompt, frames, whole.image_token_id)
