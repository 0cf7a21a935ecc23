# SPDX-License-Identifier: Apache-2.0
"""Verdicts of stages: within a tolerance, not given, or reported only."""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.evaluation.stage_results import (
    Verdict,
    close,
    identical,
    relative,
    reported,
    reported_perplexity,
    reported_tokens,
    same_tokens,
    tolerance_of,
)


def test_one_wrong_number_fails_and_is_named() -> None:
    result = identical('ids', np.array([1, 2, 3]), np.array([1, 5, 3]))
    assert (result.verdict, result.error) == (Verdict.FAIL, 1)
    assert result.note == 'first at 1: 2 instead of 5'
    assert identical('ids', np.array([1, 2]), np.array([1, 2])).verdict is Verdict.OK


@pytest.mark.parametrize(
    'compare', [identical, lambda *given: close(*given, 1.0), lambda *given: relative(*given, 1.0)]
)
def test_another_shape_fails_whatever_the_tolerance_and_an_absent_key_is_not_given(compare) -> None:  # type: ignore[no-untyped-def]
    result = compare('stage', np.zeros((2, 3)), np.zeros((3, 2)))
    assert (result.verdict, result.note) == (Verdict.FAIL, 'shape (2, 3) instead of (3, 2)')
    assert compare('stage', np.zeros(2), None).verdict is Verdict.NOT_GIVEN


def test_an_error_at_the_tolerance_passes_and_one_above_fails() -> None:
    reference = np.array([1.0, 2.0])
    assert close('pixels', reference + [0, 0.5], reference, 0.5).verdict is Verdict.OK
    assert close('pixels', reference + [0, 0.75], reference, 0.5).verdict is Verdict.FAIL


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_what_is_no_number_fails(bad: float) -> None:
    assert relative('logits', np.array([1.0, bad]), np.ones(2), 1e9).verdict is Verdict.FAIL
    assert close('pixels', np.array([1.0, bad]), np.ones(2), 1e9).verdict is Verdict.FAIL


def test_tokens_count_up_to_the_first_near_tie_only() -> None:
    leads = np.array([0.5, 0.4, 1e-4, 0.3])
    assert same_tokens('tokens', [1, 2, 9, 9], [1, 2, 3, 4], leads, 1e-3).verdict is Verdict.OK
    failed = same_tokens('tokens', [1, 9, 3, 4], [1, 2, 3, 4], leads, 1e-3)
    assert failed.verdict is Verdict.FAIL and failed.error == 1
    assert 'first difference at step 1' in failed.note and 'judged up to step 2' in failed.note


def test_tokens_that_end_early_fail() -> None:
    assert same_tokens('tokens', [1, 2], [1, 2, 3], np.ones(3), 1e-3).verdict is Verdict.FAIL


def test_float32_has_the_strict_bounds_and_others_looser_ones() -> None:
    strict = tolerance_of('float32')
    assert (strict.pixels, strict.features, strict.logits, strict.margin) == (
        1e-6,
        1e-5,
        1e-4,
        1e-3,
    )
    for precision in ('float16', 'bfloat16', 'something coarser'):
        loose = tolerance_of(precision)
        assert loose.pixels == strict.pixels and loose.logits > strict.logits


def test_a_perplexity_is_compared_with_the_references_own() -> None:
    reference = np.log([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    result = reported_perplexity('perplexity', np.zeros((2, 3)), reference, [0, 1])
    assert (result.verdict, result.note) == (Verdict.REPORTED, '3.0000 instead of 2.0000')
    assert result.error == pytest.approx(0.5)
    assert (
        reported_perplexity('perplexity', np.zeros((2, 3)), None, [0, 1]).verdict
        is Verdict.NOT_GIVEN
    )


def test_agreement_counts_tokens_that_are_missing_as_others() -> None:
    result = reported_tokens('tokens', [1, 2, 9], [1, 2, 3, 4])
    assert (result.verdict, result.error, result.note) == (
        Verdict.REPORTED,
        2,
        'top-1 agreement 0.500: 2 of 4',
    )
    assert reported_tokens('tokens', [1], None).verdict is Verdict.NOT_GIVEN


def test_what_is_no_number_or_of_another_shape_fails_all_the_same() -> None:
    assert reported('logits', np.array([1.0, np.nan]), np.ones(2)).verdict is Verdict.FAIL
    assert reported('logits', np.ones(3), np.ones(2)).verdict is Verdict.FAIL
    assert reported('logits', np.ones(3), None).verdict is Verdict.NOT_GIVEN
    assert (
        reported_perplexity('perplexity', np.full((1, 2), np.nan), np.zeros((1, 2)), [0]).verdict
        is Verdict.FAIL
    )


def test_a_reported_error_names_the_cosine() -> None:
    result = reported('features', np.array([3.0, 0.0]), np.array([3.0, 4.0]))
    assert result.note == 'cosine 0.60000'
