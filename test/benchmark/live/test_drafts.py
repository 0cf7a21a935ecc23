# SPDX-License-Identifier: Apache-2.0
"""Texts drafted again at given costs: what that saves is computed from tokens and costs alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from penguin_ros.benchmark.live.drafts import PASS_SIZES, interpolated, pass_seconds, replayed

FLAT = {str(rows): 1.0 for rows in PASS_SIZES}
STEEP = {str(rows): float(rows) for rows in PASS_SIZES}


def text(ids: list[int]) -> dict[str, Any]:
    return {'prompt_ids': [1000, 1001], 'ids': ids, 'stop_ids': [999]}


def said(seed: int, length: int = 40) -> list[int]:
    return random.Random(seed).choices(range(900), k=length)


def test_the_same_text_again_and_again_costs_few_passes() -> None:
    found = replayed([text(said(1))] * 10, FLAT, 15)
    assert found['texts'] == 10 and found['tokens'] == 400
    assert found['ratio'] < 0.3 and found['passes_per_token'] < 0.3


def test_the_first_text_is_not_drafted() -> None:
    found = replayed([text(said(1))], FLAT, 15)
    assert (
        found['ratio'] == found['worst_ratio'] == pytest.approx(1.0)
        and found['passes_per_token'] == 1.0
    )


def test_where_a_position_costs_a_pass_nothing_is_drafted() -> None:
    found = replayed([text(said(1))] * 6, STEEP, 15)
    assert found['ratio'] == pytest.approx(1.0, abs=0.05)


def test_texts_that_have_nothing_in_common_cost_little_more() -> None:
    costs = {str(rows): 1 + 0.05 * (rows - 1) for rows in PASS_SIZES}
    assert replayed([text(said(seed)) for seed in range(20)], costs, 15)['ratio'] <= 1.05


def test_without_draft_tokens_or_texts_nothing_is_saved() -> None:
    assert replayed([text(said(1))] * 5, FLAT, 0)['ratio'] == pytest.approx(1.0)
    assert replayed([], FLAT, 15)['ratio'] is None
    assert replayed([text([5])], FLAT, 15)['ratio'] is None


def test_costs_between_measured_sizes_are_in_proportion() -> None:
    costs = {1: 1.0, 4: 2.5, 16: 4.0}
    assert [interpolated(costs, rows) for rows in (1, 2, 4, 10, 16, 32)] == [
        1.0,
        1.5,
        2.5,
        3.25,
        4.0,
        8.0,
    ]


def test_passes_are_timed_in_turns_taken_back_and_the_first_round_is_not_counted() -> None:
    calls: list[tuple[str, int]] = []
    found = pass_seconds(
        lambda chunk, indices: calls.append(('forward', len(chunk.token_ids))),
        lambda: calls.append(('undo', 0)),
        vocabulary_size=50,
        sizes=(1, 3),
        repeats=2,
    )
    assert calls == [('forward', 1), ('undo', 0), ('forward', 3), ('undo', 0)] * 3
    assert {size: len(seconds) for size, seconds in found.items()} == {1: 2, 3: 2}
