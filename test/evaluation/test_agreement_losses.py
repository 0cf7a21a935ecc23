# SPDX-License-Identifier: Apache-2.0
"""What a coarse precision costs, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.evaluation.agreement import (
    cosine,
    perplexities,
    perplexity,
    reported,
    token_agreement,
)
from penguin_ros.evaluation.tolerance import Verdict


def test_the_cosine_is_that_of_the_whole_arrays() -> None:
    assert cosine(np.array([[3.0, 0.0]]), np.array([[3.0, 4.0]])) == pytest.approx(0.6)
    assert cosine(np.zeros(2), np.zeros(2)) == 1 and cosine(np.zeros(2), np.ones(2)) == 0
    assert reported('features', np.array([3.0, 0.0]), np.array([3.0, 4.0])).note == 'cosine 0.60000'


def test_the_perplexity_of_a_uniform_guess_is_the_number_of_tokens() -> None:
    assert perplexity(np.zeros((5, 8)), [0, 3, 7, 1, 1]) == pytest.approx(8)
    sure = np.full((2, 8), -1e4)
    sure[[0, 1], [2, 5]] = 1e4
    assert perplexity(sure, [2, 5]) == pytest.approx(1)


def test_a_perplexity_is_compared_with_the_references_own() -> None:
    reference = np.log([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    result = perplexities('perplexity', np.zeros((2, 3)), reference, [0, 1])
    assert (result.verdict, result.note) == (Verdict.REPORTED, '3.0000 instead of 2.0000')
    assert result.error == pytest.approx(0.5)
    assert perplexities('perplexity', np.zeros((2, 3)), None, [0, 1]).verdict is Verdict.NOT_GIVEN


def test_agreement_counts_tokens_that_are_missing_as_others() -> None:
    result = token_agreement('tokens', [1, 2, 9], [1, 2, 3, 4])
    assert (result.verdict, result.error, result.note) == (
        Verdict.REPORTED,
        2,
        'top-1 agreement 0.500: 2 of 4',
    )
    assert token_agreement('tokens', [1], None).verdict is Verdict.NOT_GIVEN


def test_what_is_no_number_or_of_another_shape_fails_all_the_same() -> None:
    assert reported('logits', np.array([1.0, np.nan]), np.ones(2)).verdict is Verdict.FAIL
    assert reported('logits', np.ones(3), np.ones(2)).verdict is Verdict.FAIL
    assert reported('logits', np.ones(3), None).verdict is Verdict.NOT_GIVEN
    assert (
        perplexities('perplexity', np.full((1, 2), np.nan), np.zeros((1, 2)), [0]).verdict
        is Verdict.FAIL
    )
