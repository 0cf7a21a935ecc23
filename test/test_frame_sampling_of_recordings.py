# SPDX-License-Identifier: Apache-2.0
"""Sampling of recordings at a steady rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.frame_sampling import SampleTimes

SECOND = 1_000_000_000


def test_takes_two_frames_per_second_of_a_25_hz_video() -> None:
    due = SampleTimes(2.0)
    taken = [index * 40 for index in range(76) if due.takes(index * 40_000_000)]
    assert taken == [0, 520, 1000, 1520, 2000, 2520, 3000]


def test_rate_zero_takes_every_frame_once() -> None:
    due = SampleTimes(0.0)
    assert [due.takes(time) for time in (0, 1, 1, 2, 1, 3)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_gap_does_not_make_up_for_missed_samples() -> None:
    due = SampleTimes(1.0)
    taken = [due.takes(time * SECOND) for time in (0, 10)] + [
        due.takes(10 * SECOND + SECOND // 2),
        due.takes(11 * SECOND),
    ]
    assert taken == [True, True, False, True]


@given(
    st.lists(st.integers(min_value=-10 * SECOND, max_value=100 * SECOND), max_size=60),
    st.sampled_from([0.0, 0.5, 3.0, 240.0]),
)
def test_samples_increase_strictly_and_keep_to_the_rate(times: list[int], fps: float) -> None:
    due = SampleTimes(fps)
    taken = [time for time in times if due.takes(time)]
    assert all(later > earlier for earlier, later in zip(taken, taken[1:], strict=False))
    if taken and fps:
        assert len(taken) <= (taken[-1] - taken[0]) / SECOND * fps + 1.5
