# SPDX-License-Identifier: Apache-2.0
"""Arrays of two targets become figures of their agreement: with numbers that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from penguin_ros.benchmark.engine.agreement_figures import agreement_figures
from penguin_ros.benchmark.engine.answer_arrays import AnswerArrays
from penguin_ros.errors import BundleMismatch, InvalidLogits


@pytest.fixture
def arrays() -> AnswerArrays:
    """Arrays of two frames and three steps; the best token of step i is i, by 10."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 7)).astype(np.float32)
    logits[range(3), range(3)] = logits.max() + 10
    return AnswerArrays(
        'd',
        np.array([2, 3]),
        random.normal(size=(5, 4)).astype(np.float32),
        logits,
        np.array([0, 1, 2]),
        np.array([0, 1, 2]),
    )


def agreement(ours: AnswerArrays, reference: AnswerArrays) -> dict[str, Any]:
    return {figure.name: figure for figure in agreement_figures(ours, reference)}


def test_one_bad_frame_and_one_bad_step_show_as_the_worst(arrays: AnswerArrays) -> None:
    features, logits = arrays.features.copy(), arrays.logits.copy()
    features[2:] *= -1
    logits[1] = 0
    logits[1, 6] = 1
    found = agreement(replace(arrays, features=features, logits=logits), arrays)
    assert found['features, worst frame'].value == pytest.approx(-1)
    assert -1 < found['features, cosine'].value < 1
    assert found['logits, worst step'].how == 'step 1 of 3'
    assert (
        found['top-1 agreement'].value == pytest.approx(200 / 3)
        and '2 of 3 steps' in found['top-1 agreement'].how
    )
    assert (
        'margin is 10' in found['top-1 agreement'].how
        or 'margin is 1' in found['top-1 agreement'].how
    )


@pytest.mark.parametrize(
    ('ours', 'theirs', 'share', 'words'),
    [
        ([0, 1, 2], [0, 1, 2], 100, '3 of 3'),
        ([0, 5, 2], [0, 1, 2], 100 / 3, 'part at token 1'),
        ([0, 1], [0, 1, 2], 200 / 3, 'part at token 2'),
        ([4], [0, 1, 2], 0, 'part at token 0'),
    ],
)
def test_texts_agree_up_to_where_they_part(
    arrays: AnswerArrays, ours: list[int], theirs: list[int], share: float, words: str
) -> None:
    found = agreement(
        replace(arrays, greedy=np.array(ours)), replace(arrays, greedy=np.array(theirs))
    )
    figure = found['text, tokens before they part']
    assert figure.value == pytest.approx(share) and words in figure.how


def test_what_cannot_be_compared_is_refused(arrays: AnswerArrays) -> None:
    with pytest.raises(BundleMismatch, match='same checkpoint'):
        agreement_figures(replace(arrays, digest='e'), arrays)
    with pytest.raises(BundleMismatch, match=r'features \(4, 4\)'):
        agreement_figures(replace(arrays, features=arrays.features[1:]), arrays)
    logits = arrays.logits.copy()
    logits[0, 0] = np.nan
    with pytest.raises(InvalidLogits, match='first target'):
        agreement_figures(replace(arrays, logits=logits), arrays)
