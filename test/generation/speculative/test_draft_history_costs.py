# SPDX-License-Identifier: Apache-2.0
"""How long passes are expected to take after some were measured."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.generation.speculative.draft_history import PRIOR_SLOPE, VerifyCosts


def measured(*passes: tuple[int, int]) -> VerifyCosts:
    costs = VerifyCosts()
    for num_tokens, duration_ns in passes:
        costs.note(num_tokens, duration_ns)
    return costs


def test_before_any_measurement_a_further_position_costs_its_prior_share() -> None:
    assert VerifyCosts().cost(1) == 1 and VerifyCosts().cost(5) == 1 + 4 * PRIOR_SLOPE


def test_one_measured_size_sets_the_scale_of_all() -> None:
    costs = measured((1, 1000))
    assert costs.cost(1) == pytest.approx(1000) and costs.cost(9) == pytest.approx(
        1000 * (1 + 8 * PRIOR_SLOPE)
    )
    assert measured((9, 3000)).cost(1) == pytest.approx(1000)


def test_between_measured_sizes_costs_rise_evenly_and_beyond_by_the_prior() -> None:
    costs = measured((1, 1000), (5, 1400))
    assert costs.cost(3) == pytest.approx(1200, rel=0.01)
    assert costs.cost(9) == pytest.approx(
        1400 * (1 + 8 * PRIOR_SLOPE) / (1 + 4 * PRIOR_SLOPE), rel=0.01
    )


def test_a_first_pass_that_was_dear_is_forgotten_at_the_second() -> None:
    assert measured((1, 9000), (1, 1000)).cost(1) == pytest.approx(1000)
    costs = measured((1, 1000), (2, 1900), (2, 1100))
    assert costs.cost(2) == pytest.approx(1100, rel=0.01)


def test_a_pass_that_was_held_up_counts_little() -> None:
    steady = [(1, 1000)] * 20
    assert measured(*steady, (1, 10**9)).cost(1) < 1200


def test_estimates_follow_a_machine_that_becomes_slower_or_faster() -> None:
    assert measured(*[(1, 1000)] * 50, *[(1, 3000)] * 60).cost(1) == pytest.approx(3000, rel=0.02)
    assert measured(*[(1, 3000)] * 50, *[(1, 1000)] * 60).cost(1) == pytest.approx(1000, rel=0.02)


def test_a_size_that_was_dear_is_hoped_to_be_cheaper_again_the_longer_it_was_not_tried() -> None:
    costs = measured((1, 1000), (4, 1990), (4, 3900), (4, 3900))
    before = costs.cost(4)
    assert before > 2500
    seen = [before]
    for _ in range(3000):
        costs.note(1, 1000)
        seen.append(costs.cost(4))
    assert all(later <= earlier for earlier, later in itertools.pairwise(seen))
    assert seen[100] > 0.85 * before and seen[-1] == pytest.approx(1000)


def test_a_plain_step_that_was_not_tried_again_is_hoped_to_be_cheaper_too() -> None:
    costs = measured((1, 1000), *[(8, 1500)] * 1500)
    assert costs.cost(1) < 300 and costs.cost(8) == pytest.approx(1500)


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 10**12)), max_size=60))
def test_costs_are_positive_and_never_fall_with_the_positions(
    passes: list[tuple[int, int]],
) -> None:
    costs = measured(*passes)
    values = [costs.cost(size) for size in range(1, 70)]
    assert values[0] > 0
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in itertools.pairwise(values))


def test_the_same_measurements_give_the_same_costs() -> None:
    passes = [(size, size * 100 + 900) for size in (1, 2, 4, 8, 1, 1, 16, 3)]
    assert [measured(*passes).cost(size) for size in range(1, 20)] == [
        measured(*passes).cost(size) for size in range(1, 20)
    ]
