# SPDX-License-Identifier: Apache-2.0
"""Measures of agreement: when two texts count as the same (up to small margins and rounding, never
when logits differ), where sequences part, and how far apart arrays are.
"""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.evaluation.agreement import (
    DIFFERENT,
    SAME,
    UP_TO_MARGIN,
    UP_TO_ROUNDING,
    Parting,
    TextLogits,
    agreement,
    cosine,
    in_words,
    margins,
    parting,
    perplexity,
    relative_error,
    worst,
)


def text(*ids: int, margin: float = 1.0, change: float = 0.0) -> TextLogits:
    """Each of `ids` leads by `margin` in a vocabulary of eight; `change` is added to every
    logit.
    """
    logits = np.zeros((len(ids), 8), np.float32)
    logits[np.arange(len(ids)), ids] = margin
    return TextLogits(ids, logits + np.float32(change))


def test_equal_texts_are_the_same_at_every_step() -> None:
    found = agreement(text(1, 2, 3), text(1, 2, 3))
    assert (found.verdict, found.tokens, found.steps, found.parted_at, found.logit_difference) == (
        SAME,
        3,
        3,
        -1,
        0.0,
    )
    assert found.is_good and in_words(found) == 'all 3; ±0.0e+00'


def test_another_token_where_the_reference_is_sure_is_different() -> None:
    ours, reference = text(1, 2, 4, 5), text(1, 2, 3, 5)
    ours.logits[2] = reference.logits[2]  # even with the very same logits
    found = agreement(ours, reference)
    assert (found.verdict, found.parted_at, found.margin, found.steps) == (DIFFERENT, 2, 1.0, 3)
    assert not found.is_good and in_words(found).startswith('DIFFERENT: 2 of 4')


def test_texts_may_part_from_the_first_small_margin_on() -> None:
    reference = text(1, 2, 3, 4)
    reference.logits[1, 5] = reference.logits[1, 2] - 0.0005
    ours = TextLogits((1, 5, 6, 7), reference.logits.copy())
    found = agreement(ours, reference)
    assert (found.verdict, found.small_margin_at, found.parted_at) == (UP_TO_MARGIN, 1, 1)
    later = TextLogits((1, 2, 6, 7), reference.logits.copy())
    assert agreement(later, reference).verdict == UP_TO_MARGIN
    earlier = TextLogits((2, 5, 6, 7), reference.logits.copy())
    assert agreement(earlier, reference).verdict == DIFFERENT


def test_other_logits_are_different_although_every_token_is_the_same() -> None:
    found = agreement(text(1, 2, 3, change=0.01), text(1, 2, 3))
    assert (
        found.verdict == DIFFERENT
        and found.parted_at == -1
        and found.logit_difference == pytest.approx(0.01, rel=1e-4)
    )
    assert agreement(text(1, 2, 3, change=0.01), text(1, 2, 3), rounding=0.005).verdict == SAME


def test_what_rounding_was_seen_to_do_may_choose_a_token() -> None:
    reference = text(1, 2, 3, margin=0.02)
    ours = TextLogits((1, 4, 3), reference.logits.copy())
    assert agreement(ours, reference).verdict == DIFFERENT
    assert agreement(ours, reference, rounding=0.005).verdict == UP_TO_ROUNDING


def test_logits_are_compared_as_long_as_both_have_seen_the_same_tokens() -> None:
    ours, reference = text(1, 2, 4, 5), text(1, 2, 3, 6)
    ours.logits[3] = 100.0
    ours.logits[2] = reference.logits[2]
    assert agreement(ours, reference).logit_difference == 0.0


def test_a_text_that_ends_early_and_numbers_that_are_none_do_not_agree() -> None:
    assert agreement(text(1, 2), text(1, 2, 3)).verdict == DIFFERENT
    assert agreement(text(1, 2, 3), text(1, 2)).parted_at == 2
    broken = text(1, 2, 3)
    broken.logits[1, 7] = np.nan
    assert agreement(broken, text(1, 2, 3), rounding=1.0).verdict == DIFFERENT


def test_the_worst_of_several_is_shown() -> None:
    good, bad = agreement(text(1), text(1)), agreement(text(2), text(1))
    assert worst([good, bad, good]) == bad and worst([]) is None and in_words(None) == '–'


def test_the_cosine_is_that_of_the_whole_arrays() -> None:
    assert cosine(np.array([[3.0, 0.0]]), np.array([[3.0, 4.0]])) == pytest.approx(0.6)
    assert cosine(np.zeros(2), np.zeros(2)) == 1 and cosine(np.zeros(2), np.ones(2)) == 0


def test_the_relative_error_is_that_of_the_whole_array() -> None:
    assert relative_error(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.ones(2), np.zeros(2)) == float('inf')


def test_the_perplexity_of_a_uniform_guess_is_the_number_of_tokens() -> None:
    assert perplexity(np.zeros((5, 8)), [0, 3, 7, 1, 1]) == pytest.approx(8)
    sure = np.full((2, 8), -1e4)
    sure[[0, 1], [2, 5]] = 1e4
    assert perplexity(sure, [2, 5]) == pytest.approx(1)


def test_margins_are_the_leads_of_the_best_over_the_second() -> None:
    np.testing.assert_allclose(margins(np.array([[1.0, 5.0, 4.5], [7.0, 7.0, 1.0]])), [0.5, 0.0])


@pytest.mark.parametrize(
    ('ours', 'reference', 'expected'),
    [
        ([0, 1, 2], [0, 1, 2], Parting(3, 3, None)),
        ([0, 5, 2], [0, 1, 2], Parting(1, 3, 0.2)),
        ([0, 1], [0, 1, 2], Parting(2, 3, 0.3)),
        ([0, 1, 2, 3], [0, 1, 2], Parting(3, 4, None)),
        ([4], [0, 1, 2], Parting(0, 3, 0.1)),
        ([], [], Parting(0, 0, None)),
    ],
)
def test_sequences_part_at_the_first_token_that_differs_or_is_missing(
    ours: list[int], reference: list[int], expected: Parting
) -> None:
    found = parting(ours, reference, [0.1, 0.2, 0.3])
    assert found == expected and found.is_parted == (ours != reference)
