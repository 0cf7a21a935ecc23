# SPDX-License-Identifier: Apache-2.0
"""The time of a simulated world: how fast it runs, what a reset does, and that nobody waits for
ever.
"""

from __future__ import annotations

import threading

import pytest

from penguin_ros.ros.sim_camera.clock import SimulatedClock, WallClock

SECOND = 10**9


class Steady:
    """A steady clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 7 * SECOND

    def __call__(self) -> int:
        return self.now_ns


@pytest.mark.parametrize('factor', [0.5, 1.0, 4.0])
def test_it_gains_its_factor_of_seconds_per_real_second(factor: float) -> None:
    steady = Steady()
    clock = SimulatedClock(3 * SECOND, factor, steady)
    steady.now_ns += 2 * SECOND
    assert clock.now() == (0, 3 * SECOND + round(2 * factor * SECOND))


def test_a_reset_begins_again_in_a_new_epoch() -> None:
    steady = Steady()
    clock = SimulatedClock(SECOND, 1.0, steady)
    steady.now_ns += 50 * SECOND
    clock.reset()
    assert clock.now() == (1, SECOND) and clock.epoch == 1


def test_waiting_ends_when_the_time_has_come() -> None:
    clock = SimulatedClock(SECOND, 50.0)
    assert clock.wait_until(0, 2 * SECOND)
    assert clock.now()[1] >= 2 * SECOND


@pytest.mark.parametrize('end', ['reset', 'close'])
def test_waiting_ends_at_once_with_a_reset_and_with_the_end(end: str) -> None:
    clock, answers = SimulatedClock(SECOND, 0.01), []
    waiter = threading.Thread(target=lambda: answers.append(clock.wait_until(0, 1000 * SECOND)))
    waiter.start()
    getattr(clock, end)()
    waiter.join(5.0)
    assert answers == [False]
    assert not clock.wait_until(0, 1000 * SECOND)


def test_what_belongs_to_the_time_before_a_reset_is_not_run_after_it() -> None:
    clock, ran = SimulatedClock(SECOND, 1.0), []
    assert clock.run_in(0, lambda: ran.append('before'))
    clock.reset()
    assert not clock.run_in(0, lambda: ran.append('after'))
    assert clock.run_in(1, lambda: ran.append('new'))
    assert ran == ['before', 'new']


def test_real_time_cannot_be_set_back() -> None:
    clock = WallClock(100 * SECOND)
    clock.reset()
    epoch, now_ns = clock.now()
    assert epoch == 0 and now_ns >= 100 * SECOND
