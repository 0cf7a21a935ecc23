# SPDX-License-Identifier: Apache-2.0
"""What is chosen from what was measured."""

from __future__ import annotations

from typing import Any

from penguin_ros.board.choice import best_encoder, best_head, best_weights, choose, ranked
from penguin_ros.board.decode_times import SIDES, same_tokens
from penguin_ros.board.report import all_verdicts
from penguin_ros.board.result import DONE, FAILED, SKIPPED, StepResult


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


def answered(backend: str, first: float, tokens: dict[str, float], **more: Any) -> dict[str, Any]:
    """What a step found that answered with a whole backend."""
    decode = {position: {'seconds': seconds} for position, seconds in tokens.items()}
    first_token = {'seconds': first, 'tokens': 90}
    return {
        'backend': backend,
        'opening': 1.0,
        'first_token': first_token,
        'decode': decode,
        'taken_bytes': 2_000_000_000,
        **more,
    }


def sides(engines: dict[str, Any], kernels: dict[str, Any]) -> dict[str, StepResult]:
    return {
        name: StepResult(name, DONE, facts=facts)
        for name, facts in zip(SIDES, (engines, kernels), strict=True)
    }


def test_the_backend_is_chosen_whose_answer_of_64_tokens_is_complete_sooner() -> None:
    engines = answered('tensorrt', 0.5, {'100': 0.03, '1000': 0.03})
    kernels = answered('cuda', 0.9, {'100': 0.02, '1000': 0.02, '2000': 9.0})
    profile = choose(sides(engines, kernels))
    assert profile.backend == 'cuda', 'a position that only one reached does not count'
    assert 'tensorrt 2.42 s, cuda 2.18 s' in profile.reasons[-1]
    texts = [verdict.text for verdict in all_verdicts(sides(engines, kernels))]
    assert any('first token of 90 900 ms, 50.0 tokens/s at 100' in text for text in texts)
    assert any(text.endswith('run the bundle for cuda') for text in texts)
    engines['first_token']['seconds'] = 0.2
    assert choose(sides(engines, kernels)).backend == 'tensorrt'


def test_a_backend_that_gave_no_answer_is_not_chosen() -> None:
    kernels = answered('cuda', 0.9, {'100': 0.02})
    for state in (FAILED, SKIPPED):
        results = sides({}, kernels)
        results[SIDES[0]] = StepResult(SIDES[0], state, why='no room')
        profile = choose(results)
        assert profile.backend == 'cuda' and 'gave no answer' in profile.reasons[-1]
    kernels['first_token'] = {'why': 'no room'}
    assert choose(sides({}, kernels)).backend == ''
    assert choose({SIDES[1]: StepResult(SIDES[1], DONE, facts=kernels)}).backend == ''


def test_backends_that_choose_other_tokens_where_one_led_clearly_are_named() -> None:
    chosen = {'tokens': [1, 2, 3, 4], 'leads': [1.0, 1.0, 1.0, 0.01], 'largest': 10.0}
    other = {**chosen, 'tokens': [1, 2, 9, 9]}
    tokens = {'100': 0.02}
    results = sides(
        answered('tensorrt', 0.5, tokens, chosen=chosen),
        answered('cuda', 0.5, tokens, chosen=other),
    )
    assert same_tokens(results) == (2 / 3, 3)
    notes = [verdict.text for verdict in all_verdicts(results) if verdict.state == 'note']
    assert notes == ['the two backends choose the same token in 67% of 3 clear steps']


def test_nothing_is_chosen_where_nothing_was_measured() -> None:
    profile = choose({'identity': StepResult('identity', DONE)})
    assert (profile.precision, profile.variant, profile.max_patches) == ('', '', 0)
