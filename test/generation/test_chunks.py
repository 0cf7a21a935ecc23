# SPDX-License-Identifier: Apache-2.0
"""Prompts are cut into chunks, with the features of each frame where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.built_inputs import IMAGE, frame, inputs

from penguin_ros.backends.base.backend import Features
from penguin_ros.errors import TokenCountMismatch
from penguin_ros.generation.chunks import prompt_chunks


class Named(Features):
    def __init__(self, tokens: int, name: int) -> None:
        self.tokens, self.nbytes, self.name = tokens, 0, name


PARTS = st.lists(
    st.one_of(st.integers(1, 400), st.tuples(st.integers(1, 4), st.integers(1, 4))),
    min_size=1,
    max_size=12,
)


@given(PARTS, st.integers(1, 40))
def test_chunks_put_every_feature_row_of_every_frame_at_its_position(
    parts: list[int | tuple[int, int]], size: int
) -> None:
    built = inputs(
        [part if isinstance(part, int) else frame(*part, merge_size=1) for part in parts]
    )
    features = [Named(item.tokens, index) for index, item in enumerate(built.frames)]
    chunks = list(prompt_chunks(built, features, size))
    np.testing.assert_array_equal(
        np.concatenate([chunk.token_ids for chunk in chunks]), built.prompt.token_ids
    )
    lengths = [len(chunk.token_ids) for chunk in chunks]
    assert all(length == size for length in lengths[:-2]) and max(lengths) <= size
    rows, begin = [], 0
    for chunk in chunks:
        for span in chunk.spans:
            assert span.count > 0
            assert (chunk.token_ids[span.offset : span.offset + span.count] == IMAGE).all()
            rows += [
                (begin + span.offset + row, span.features.name, span.first + row)
                for row in range(span.count)
            ]
        begin += len(chunk.token_ids)
    expected = [
        (start + row, index, row)
        for index, start in enumerate(built.prompt.image_starts)
        for row in range(built.frames[index].tokens)
    ]
    assert rows == expected


@given(st.integers(2, 400), st.integers(3, 40))
def test_no_chunk_has_one_position_where_two_fit(positions: int, size: int) -> None:
    assert (
        min(len(chunk.token_ids) for chunk in prompt_chunks(inputs([1] * positions), [], size)) > 1
    )


def test_two_frames_side_by_side_keep_their_own_rows() -> None:
    built = inputs([1, frame(2, 2, 1), frame(1, 3, 1), 2])
    first, second = Named(4, 0), Named(3, 1)
    (one, two) = prompt_chunks(built, [first, second], 6)
    assert [(span.offset, span.features, span.first, span.count) for span in one.spans] == [
        (1, first, 0, 4),
        (5, second, 0, 1),
    ]
    assert [(span.offset, span.features, span.first, span.count) for span in two.spans] == [
        (0, second, 1, 2)
    ]


@pytest.mark.parametrize('features', [[], [Named(3, 0)], [Named(4, 0), Named(4, 1)]])
def test_features_that_do_not_fit_the_frames_are_refused(features: list[Features]) -> None:
    with pytest.raises(TokenCountMismatch):
        prompt_chunks(inputs([1, frame(2, 2, 1), 2]), features, 4)
