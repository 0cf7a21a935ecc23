# SPDX-License-Identifier: Apache-2.0
"""Each sampler keeps its rate whatever the camera's rate and jitter, and thinning is even."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.frame_sampling import LiveSampler, RecordingSampler, WindowSampler, evenly

MS = 1_000_000
SECOND = 1000 * MS

# --- live, on clocks that the test turns ----------------------------------------------------------


class Clocks:
    """Both clocks; ROS time runs `speed` times as fast as the steady one."""

    def __init__(self, speed=1.0):
        self.steady, self.ros, self.speed = 1000 * MS, 5000 * MS, speed

    def go(self, nanoseconds):
        self.steady += nanoseconds
        self.ros += int(nanoseconds * self.speed)


def times(clocks, rate_hz=2.0):
    return LiveSampler(rate_hz, lambda: clocks.steady, lambda: clocks.ros)


def taken(sampling, clocks, step_ns, steps):
    """Steady times of the samples, when a frame waits at every step."""
    found = []
    for _ in range(steps):
        if sampling.is_due():
            sampling.take()
            found.append(clocks.steady)
        clocks.go(step_ns)
    return found


def test_the_first_frame_is_wanted_at_once():
    assert times(Clocks()).is_due()


@given(st.integers(1, 400))
def test_samples_keep_their_rate_whatever_the_rate_of_frames(step_ms):
    clocks = Clocks()
    found = taken(times(clocks), clocks, step_ms * MS, 10_000 // step_ms)
    assert abs(len(found) - 20) <= 1  # in 10 s
    assert all(
        (time - found[0]) % (500 * MS) < step_ms * MS for time in found
    )  # late by less than a frame, never adding up


def test_a_pause_is_not_made_up_for():
    clocks = Clocks()
    sampling = times(clocks)
    sampling.take()
    clocks.go(60_000 * MS)
    assert sampling.is_due()
    sampling.take()
    assert not sampling.is_due() and sampling.until_due_ns() == 500 * MS


def test_fast_simulated_time_brings_more_samples():
    clocks = Clocks(speed=10)
    assert len(taken(times(clocks), clocks, 10 * MS, 100)) >= 18  # 10 s of camera time at 2 Hz


def test_standing_and_backward_ros_time_does_not_stop_sampling():
    for speed in (0.0, -3.0, 0.1):
        clocks = Clocks(speed)
        assert len(taken(times(clocks), clocks, 10 * MS, 1000)) == 20


def test_a_new_rate_applies_at_once():
    clocks = Clocks()
    sampling = times(clocks, rate_hz=0.1)
    sampling.take()
    sampling.set_rate(10.0)
    assert 0 < sampling.until_due_ns() <= 100 * MS
    clocks.go(100 * MS)
    assert sampling.is_due()


# --- the window's grid ----------------------------------------------------------------------------

PERIOD = 1000


def admitted(stamps: list[int], period: int = PERIOD) -> list[int]:
    sampler = WindowSampler(period)
    return [stamp for stamp in stamps if sampler.take(stamp)]


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
    sampler = WindowSampler(PERIOD)
    assert (
        sampler.is_due(0)
        and sampler.take(0)
        and not sampler.is_due(500)
        and sampler.is_due(800)
        and sampler.is_due(800)
    )
    assert not sampler.take(500) and sampler.take(800)


# --- recordings -----------------------------------------------------------------------------------


def test_takes_two_frames_per_second_of_a_25_hz_video() -> None:
    sampler = RecordingSampler(2.0)
    taken = [index * 40 for index in range(76) if sampler.take(index * 40_000_000)]
    assert taken == [0, 520, 1000, 1520, 2000, 2520, 3000]


def test_rate_zero_takes_every_frame_once() -> None:
    sampler = RecordingSampler(0.0)
    assert [sampler.take(time) for time in (0, 1, 1, 2, 1, 3)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_gap_does_not_make_up_for_missed_samples() -> None:
    sampler = RecordingSampler(1.0)
    taken = [sampler.take(time * SECOND) for time in (0, 10)] + [
        sampler.take(10 * SECOND + SECOND // 2),
        sampler.take(11 * SECOND),
    ]
    assert taken == [True, True, False, True]


@given(
    st.lists(st.integers(min_value=-10 * SECOND, max_value=100 * SECOND), max_size=60),
    st.sampled_from([0.0, 0.5, 3.0, 240.0]),
)
def test_samples_increase_strictly_and_keep_to_the_rate(times: list[int], fps: float) -> None:
    sampler = RecordingSampler(fps)
    taken = [time for time in times if sampler.take(time)]
    assert all(later > earlier for earlier, later in zip(taken, taken[1:], strict=False))
    if taken and fps:
        assert len(taken) <= (taken[-1] - taken[0]) / SECOND * fps + 1.5


# --- evenly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('count', 'limit', 'indices'),
    [
        (3, 5, (0, 1, 2)),
        (5, 5, (0, 1, 2, 3, 4)),
        (9, 5, (0, 2, 4, 6, 8)),
        (10, 4, (0, 3, 6, 9)),
        (8, 4, (0, 2, 5, 7)),
        (4, 3, (0, 2, 3)),
        (7, 1, (6,)),
        (1, 1, (0,)),
    ],
)
def test_evenly_spreads_and_keeps_the_last(
    count: int, limit: int, indices: tuple[int, ...]
) -> None:
    assert evenly(count, limit) == indices


@given(st.integers(1, 500), st.integers(1, 500))
def test_evenly_repeats_no_index_and_keeps_both_ends(count: int, limit: int) -> None:
    indices = evenly(count, limit)
    assert len(indices) == min(count, limit) and list(indices) == sorted(set(indices))
    assert indices[-1] == count - 1 and indices[0] == (0 if limit > 1 else count - 1)
