# SPDX-License-Identifier: Apache-2.0
"""What is chosen from what was measured."""

from __future__ import annotations

from typing import Any

from penguin_ros.board.choice import best_encoder, best_head, best_weights, choose, ranked
from penguin_ros.board.result import DONE, StepResult


def entry(seconds: float, error: float | None = 0.001, **more: Any) -> dict[str, Any]:
    return {'seconds': seconds, 'error': error, 'difference': error, **more}


def test_the_fastest_format_that_is_right_is_taken() -> None:
    layer = {'int4': {'1': entry(5.0)}, 'int8': {'1': entry(1.0, 0.5)}, 'float16': {'1': entry(2)}}
    assert best_weights({'layer': layer})[0] == 'float16'
    layer['float16']['1'] = {'why': 'no room'}
    assert best_weights({'layer': layer})[0] == 'int4'
    layer['int4']['1'] = entry(1.0, None)  # NaN
    assert best_weights({'layer': layer}) == ('', '')


def test_an_int8_head_is_never_chosen() -> None:
    head = {'int8': entry(1.0), 'int4': entry(3.0), 'float16': entry(2.0)}
    assert best_head({'head': head})[0] == 'float16'


def test_forms_that_are_alike_keep_the_order_of_the_builder() -> None:
    forms = {'a': entry(1.01), 'b': entry(1.0), 'c': entry(0.5, 0.9), 'd': entry(0.9)}
    assert [name for name, _ in ranked(forms)] == ['d', 'a', 'b']


def test_frames_are_as_large_as_the_memory_of_the_encoder_allows() -> None:
    forms = {
        'vision: plain': {
            '1024': entry(1.0, workspace_bytes=10_000_000),
            '4096': entry(9.0, workspace_bytes=1_600_000_000),
        },
        'vision: plain_half': {
            '1024': entry(0.5, workspace_bytes=10_000_000),
            '4096': {'why': 'no room'},
        },
    }
    assert best_encoder(forms, {'total_bytes': 8e9})[0] == 1024
    assert best_encoder(forms, {'total_bytes': 64e9})[:2] == (4096, 'plain')


def test_what_wrote_text_faster_at_the_positions_of_both_decodes() -> None:
    facts = {
        'engines': {'decode': {'100': {'seconds': 0.02}, '1000': {'seconds': 0.03}}},
        'kernels': {'decode': {'100': {'seconds': 0.021}, '1000': {'seconds': 0.022}}},
    }
    results = {'kernels': StepResult('kernels', DONE, facts=facts)}
    profile = choose(results)
    assert profile.decode == 'kernels'
    assert 'engines 30.0 ms a token at 1000, kernels 22.0 ms' in profile.reasons[-1]
    facts['kernels']['decode'] = {'4000': {'seconds': 0.1}, '1000': {'why': 'no room'}}
    assert choose(results).decode == ''


def test_nothing_is_chosen_where_nothing_was_measured() -> None:
    profile = choose({'identity': StepResult('identity', DONE)})
    assert (profile.precision, profile.variant, profile.max_patches) == ('', '', 0)
