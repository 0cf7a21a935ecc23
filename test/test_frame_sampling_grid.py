# SPDX-License-Identifier: Apache-2.0
"""The grid: one frame per period, decided on arrival, whatever the camera's rate and jitter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.frame_sampling import FrameSampler

PERIOD = 1000


def admitted(stamps: list[int], period: int = PERIOD) -> list[int]:
    grid = FrameSampler(period)
    return [stamp for stamp in stamps if grid.take(stamp)]


@given(st.integers(0, PERIOD), st.lists(st.integers(-120, 120), min_size=2, max_size=60))
def test_a_camera_at_the_rate_of_the_grid_loses_no_frame_to_jitter(
    phase: int, jitter: list[int]
) -> None:
    stamps = [phase + number * PERIOD + late for number, late in enumerate(jitter)]
    assert admitted(stamps) == stamps


@given(st.lists(st.integers(0, 480), min_size=1, max_size=60))
def test_a_late_frame_does_not_cost_the_next_one(late: list[int]) -> None:
    stamps = [0, *(number * PERIOD + lateness for number, lateness in enumerate(late, 1))]
    assert admitted(stamps) == stamps


@given(st.integers(PERIOD, 3 * PERIOD), st.integers(2, 200))
def test_a_slower_camera_loses_no_frame_however_its_phase_drifts(gap: int, count: int) -> None:
    stamps = [number * gap for number in range(count)]
    assert admitted(stamps) == stamps


@given(st.lists(st.integers(1, 2 * PERIOD), min_size=1, max_size=200))
def test_in_the_long_run_no_more_frames_are_admitted_than_the_rate_allows(gaps: list[int]) -> None:
    stamps = [sum(gaps[:count]) for count in range(len(gaps))]
    chosen = admitted(stamps)
    for first, start in enumerate(chosen):
        for last in range(first, len(chosen)):
            assert last - first <= (chosen[last] - start) / PERIOD + 1


@given(st.lists(st.integers(1, 2 * PERIOD), min_size=2, max_size=100), st.data())
def test_what_was_chosen_does_not_hang_on_what_comes_later(
    gaps: list[int], data: st.DataObject
) -> None:
    stamps = [sum(gaps[:count]) for count in range(len(gaps))]
    cut = data.draw(st.integers(1, len(stamps)))
    whole, part = admitted(stamps), admitted(stamps[:cut])
    assert whole[: len(part)] == part


@given(st.integers(1, 80))
def test_a_fast_camera_is_thinned_to_even_steps(gap: int) -> None:
    chosen = admitted(list(range(0, 20 * PERIOD, gap)))
    steps = [later - earlier for earlier, later in zip(chosen, chosen[1:], strict=False)]
    assert (
        all(PERIOD * 3 // 4 - gap <= step <= PERIOD + gap for step in steps) and len(chosen) >= 19
    )


def test_asking_changes_nothing() -> None:
    grid = FrameSampler(PERIOD)
    assert (
        grid.is_due(0)
        and grid.take(0)
        and not grid.is_due(500)
        and grid.is_due(800)
        and grid.is_due(800)
    )
    assert not grid.take(500) and grid.take(800)
