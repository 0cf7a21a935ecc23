# SPDX-License-Identifier: Apache-2.0
"""Measures and verdicts of the comparison."""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.evaluation.tolerance import (
    Verdict,
    close,
    identical,
    margins,
    relative,
    relative_error,
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


def test_the_relative_error_is_that_of_the_whole_array() -> None:
    assert relative_error(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.ones(2), np.zeros(2)) == float('inf')


def test_an_error_at_the_tolerance_passes_and_one_above_fails() -> None:
    reference = np.array([1.0, 2.0])
    assert close('pixels', reference + [0, 0.5], reference, 0.5).verdict is Verdict.OK
    assert close('pixels', reference + [0, 0.75], reference, 0.5).verdict is Verdict.FAIL


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_what_is_no_number_fails(bad: float) -> None:
    assert relative('logits', np.array([1.0, bad]), np.ones(2), 1e9).verdict is Verdict.FAIL
    assert close('pixels', np.array([1.0, bad]), np.ones(2), 1e9).verdict is Verdict.FAIL


def test_margins_are_the_leads_of_the_best_over_the_second() -> None:
    np.testing.assert_allclose(margins(np.array([[1.0, 5.0, 4.5], [7.0, 7.0, 1.0]])), [0.5, 0.0])


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
