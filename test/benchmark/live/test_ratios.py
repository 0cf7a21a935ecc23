# SPDX-License-Identifier: Apache-2.0
"""What is wanted of a live camera: shares of a cold clip on a CPU, milliseconds on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from penguin_ros.benchmark.live.ratios import Ratio, ratios
from penguin_ros.benchmark.live.tables import print_model

NAMES = ('next caption after one new frame', 'first token of the second question')


def case(name: str, ours: float, cold: float | None = None) -> dict[str, Any]:
    """A case with encode, prefill and first token of equal parts."""
    variants = {'reuse': ours, 'recompute': cold}
    return {'name': name} | {
        variant: None
        if seconds is None
        else {
            'encode_s': seconds / 2,
            'prefill_s': seconds / 2,
            'first_token_s': seconds,
        }
        for variant, seconds in variants.items()
    }


def found(device: str) -> dict[str, Ratio]:
    record = {
        'facts': {'device': device},
        'cases': [
            case('cold clip', 0.1, 0.1),
            case('append 1 to 7', 0.030),
            case('second question', 0.016),
        ],
    }
    return {each.name: each for each in ratios(record, None, 15)}


def test_on_a_cpu_shares_of_a_cold_clip_are_wanted() -> None:
    caption, question = (found('cpu')[name] for name in NAMES)
    assert (caption.value, caption.wanted, caption.unit) == (pytest.approx(0.3), 0.12, '')
    assert (question.value, question.wanted) == (pytest.approx(0.16), 0.025)
    assert "over the cold clip's" in caption.how and 'first token' in question.how


def test_on_a_gpu_milliseconds_are_wanted_and_the_share_is_told() -> None:
    caption, question = (found('cuda:0')[name] for name in NAMES)
    assert (caption.value, caption.wanted, caption.unit) == (pytest.approx(30), 40, 'ms')
    assert (question.value, question.wanted, question.unit) == (pytest.approx(16), 15, 'ms')
    assert "0.300 of the cold clip's" in caption.how and '0.160 of' in question.how


def test_the_table_shows_the_unit_and_what_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    print_model(Console(width=200), 'model', {}, list(found('cuda').values()))
    out = capsys.readouterr().out
    assert '30.0 ms' in out and '≤ 40 ms ' in out
    assert '16.0 ms' in out and '≤ 15 ms missed' in out
