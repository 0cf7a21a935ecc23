# SPDX-License-Identifier: Apache-2.0
"""Prefix keys are equal where the same stands, and different wherever anything differs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.built_inputs import IMAGE, frame, inputs

from penguin_ros.generation.kv_slot import (
    is_superseded,
    no_keys,
    prompt_keys,
    shared_prefix_length,
    text_keys,
    visual_end,
)

FIRST, SECOND, THIRD = (frame(4, 4, seed=seed) for seed in (1, 2, 3))


def common(first: list, second: list) -> int:
    return shared_prefix_length(prompt_keys(inputs(first)), prompt_keys(inputs(second)))


def test_prompts_share_what_they_begin_with() -> None:
    assert common([1, FIRST, 2, 3], [1, FIRST, 2, 3]) == 7
    assert common([1, FIRST, 2, 3], [1, FIRST, 2, 9]) == 6
    assert common([1, FIRST, 2, 3], [1, FIRST]) == 5
    assert common([1, FIRST, 2], [9, FIRST, 2]) == 0
    assert shared_prefix_length(no_keys(), prompt_keys(inputs([1]))) == 0


def test_another_frame_of_the_same_size_shares_nothing_from_its_first_token_on() -> None:
    assert common([1, 2, FIRST, 3], [1, 2, SECOND, 3]) == 2


def test_a_token_of_text_is_never_a_visual_one() -> None:
    assert common([1, FIRST], [1, *[IMAGE] * 0, 5, 6]) == 1
    text = text_keys(np.array([IMAGE] * 4))
    assert shared_prefix_length(text, prompt_keys(inputs([FIRST]))) == 0


@pytest.mark.parametrize(
    ('parts', 'end'), [([1, 2], 0), ([1, FIRST, 2, SECOND, 3, 4], 10), ([FIRST], 4)]
)
def test_the_visual_part_ends_with_the_last_frame(parts: list, end: int) -> None:
    assert visual_end(inputs(parts)) == end


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_the_common_length_is_that_of_the_ids(first: list[int], second: list[int]) -> None:
    expected = next(
        (index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    assert (
        shared_prefix_length(
            text_keys(np.array(first, np.int64)), text_keys(np.array(second, np.int64))
        )
        == expected
    )


@pytest.mark.parametrize(
    ('new', 'expected'),
    [
        ([1, FIRST, 2, SECOND, 3, THIRD, 4], True),
        ([1, SECOND, 3, THIRD, 4], True),
        ([1, FIRST, 2, SECOND, 9], False),
        ([1, FIRST, 2], False),
        ([1, THIRD, 2], False),
        ([1, 2], False),
        ([1, THIRD, SECOND], False),
    ],
)
def test_a_clip_is_superseded_by_one_that_shows_its_last_frame_and_later_ones(
    new: list, expected: bool
) -> None:
    old = prompt_keys(inputs([1, FIRST, 2, SECOND, 5, 6]))
    assert is_superseded(old, prompt_keys(inputs(new))) is expected
    assert not is_superseded(text_keys(np.arange(5)), prompt_keys(inputs(new)))
