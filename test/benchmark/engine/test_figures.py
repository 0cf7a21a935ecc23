# SPDX-License-Identifier: Apache-2.0
"""Rounds become figures: with numbers that are known."""

from __future__ import annotations

from typing import Any

import pytest

from penguin_ros.benchmark.engine.figures import BandwidthLimit, Figures
from penguin_ros.benchmark.engine.tasks import Round

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
    return {
        figure.name.strip(): figure
        for figure in Figures(rounds, BandwidthLimit(limit, 'read')).all()
    }


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
