# SPDX-License-Identifier: Apache-2.0
"""Generators run to their end and timed step by step."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from penguin_ros.steps import driven, run_to_end


class Work:
    """Steps that take 1, 2, 3 ... units of a clock; `is_closed` after their end."""

    def __init__(self, fails_at: int = 0) -> None:
        self.now = 0
        self.is_closed = False
        self._fails_at = fails_at

    def steps(self, count: int) -> Generator[int, None, str]:
        try:
            for number in range(1, count + 1):
                self.now += number
                if number == self._fails_at:
                    raise ValueError(number)
                yield number
            self.now += 100
            return 'done'
        finally:
            self.is_closed = True

    def clock(self) -> int:
        return self.now


def test_the_result_of_work_is_had_without_a_pause() -> None:
    assert run_to_end(Work().steps(3)) == run_to_end(Work().steps(0)) == 'done'


def test_each_step_is_timed_and_what_passes_between_steps_is_not() -> None:
    work, durations = Work(), list[int]()
    steps, seen = driven(work.steps(3), work.clock, durations.append), list[int]()
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            assert end.value == 'done'
            break
        work.now += 1000
    assert seen == [1, 2, 3] and durations == [1, 2, 3, 100]


def test_a_step_that_fails_is_timed_too() -> None:
    work, durations = Work(fails_at=2), list[int]()
    with pytest.raises(ValueError, match='2'):
        run_to_end(driven(work.steps(3), work.clock, durations.append))
    assert durations == [1, 2] and work.is_closed


@pytest.mark.parametrize('is_thrown', [False, True])
def test_work_is_closed_with_what_drives_it(is_thrown: bool) -> None:
    work, durations = Work(), list[int]()
    steps = driven(work.steps(3), work.clock, durations.append)
    next(steps)
    if is_thrown:
        error = ValueError('no longer wanted')
        with pytest.raises(ValueError, match='no longer wanted') as raised:
            steps.throw(error)
        assert raised.value is error
    else:
        steps.close()
    assert work.is_closed and durations == [1]
