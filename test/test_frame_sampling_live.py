# SPDX-License-Identifier: Apache-2.0
"""When frames are wanted, on clocks that the test turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.frame_sampling import SamplingTimes

MS = 1_000_000


class Clocks:
    """Both clocks; ROS time runs `speed` times as fast as the steady one."""

    def __init__(self, speed=1.0):
        self.steady, self.ros, self.speed = 1000 * MS, 5000 * MS, speed

    def go(self, nanoseconds):
        self.steady += nanoseconds
        self.ros += int(nanoseconds * self.speed)


def times(clocks, rate_hz=2.0):
    return SamplingTimes(rate_hz, lambda: clocks.steady, lambda: clocks.ros)


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
