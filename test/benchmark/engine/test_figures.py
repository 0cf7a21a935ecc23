# SPDX-License-Identifier: Apache-2.0
"""Rounds to figures, arrays to agreement: with numbers that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from penguin_ros.benchmark.engine.agreement import compare
from penguin_ros.benchmark.engine.answer_arrays import AnswerArrays
from penguin_ros.benchmark.engine.figures import Figures, Limit
from penguin_ros.benchmark.tasks import Round
from penguin_ros.errors import BundleMismatch, InvalidLogits
from penguin_ros.evaluation.agreement import common

FACTS = {
    'device': 'cpu',
    'patches': [400, 100, 100],
    'visual_tokens': 150,
    'prompt_tokens': 200,
    'position': 500,
    'slot_bytes': 1_000_000,
    'max_length': 1000,
    'read_bytes_per_token': 2_000_000,
    'read_bytes_from': 'a file',
    'plan_bytes': 0,
}
SAMPLES = {
    'first_token_s': 0.4,
    'prepare_s': 0.1,
    'encode_s': 0.2,
    'prefill_s': 0.1,
    'answer_token_s': 0.01,
    'token_s': 0.02,
    'position_prefill_s': 0.5,
    'load_s': 3.0,
    'resident_loaded': 1e8,
    'resident_peak': 2e8,
    'taken': 1e6,
}


def made(
    facts: dict[str, Any], *changes: dict[str, float], limit: float | None = 4e8
) -> dict[str, Any]:
    rounds = [Round(None, {**FACTS, **facts}, {**SAMPLES, **change}) for change in changes or ({},)]
    return {figure.name.strip(): figure for figure in Figures(rounds, Limit(limit, 'read')).all()}


def test_figures_are_medians_and_keep_every_round() -> None:
    found = made({}, {'token_s': 0.01}, {'token_s': 0.02}, {'token_s': 0.1, 'resident_peak': 5e8})
    assert (found['decode'].value, found['decode'].unit, found['decode'].rounds) == (
        50,
        'tok/s',
        (100, 50, 10),
    )
    assert found['memory, highest'].value == 500


def test_weights_over_time_are_a_share_of_the_bandwidth_and_the_cache_comes_on_top() -> None:
    found = made({})
    assert found['weights read'].value == pytest.approx(0.1)
    assert found['share of it, weights'].value == pytest.approx(25)
    assert found['share of it, with the KV cache'].value == pytest.approx(25 * 1.25)
    assert found['prefill'].value is not None and '500 random tokens' in found['prefill'].how
    assert '400 + 2 x 100: 150' in found['encode'].how


def test_a_gpu_has_a_limit_of_its_own() -> None:
    found = made(
        {'device': 'Orin', 'device_copy': 'copied'},
        {'device_bytes_per_s': 1e9},
        {'device_bytes_per_s': 2e9},
    )
    assert (found['memory bandwidth'].value, found['memory bandwidth'].how) == (2, 'copied')
    found = made({'device': 'Orin', 'device_copy': 'not measured: no library'})
    assert found['memory bandwidth'].value is None and found['share of it, weights'].value is None
    assert found['memory bandwidth'].how == 'not measured: no library'


@pytest.fixture
def arrays() -> AnswerArrays:
    """Two frames, three steps; the best token of step i is i, by 10."""
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
    return {figure.name: figure for figure in compare(ours, reference)}


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
    assert common(ours, theirs) == round(share * max(len(ours), len(theirs)) / 100)


def test_what_cannot_be_compared_is_refused(arrays: AnswerArrays) -> None:
    with pytest.raises(BundleMismatch, match='same checkpoint'):
        compare(replace(arrays, digest='e'), arrays)
    with pytest.raises(BundleMismatch, match=r'features \(4, 4\)'):
        compare(replace(arrays, features=arrays.features[1:]), arrays)
    logits = arrays.logits.copy()
    logits[0, 0] = np.nan
    with pytest.raises(InvalidLogits, match='first side'):
        compare(replace(arrays, logits=logits), arrays)
