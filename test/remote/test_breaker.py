# SPDX-License-Identifier: Apache-2.0
"""The breaker opens after failures in a row and closes again by degrees."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.remote.breaker import BreakerLimits, BreakerState, CircuitBreaker

SECOND = 1_000_000_000


def opened(failures: int = 2) -> CircuitBreaker:
    breaker = CircuitBreaker(BreakerLimits(failures, recovery_s=5.0, recovery_checks=2))
    for _ in range(failures):
        breaker.note_failure('down', 0)
    return breaker


def test_failures_in_a_row_open_it_and_an_answer_between_them_does_not() -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=2))
    for _ in range(5):
        breaker.note_failure('down', 0)
        breaker.note_success()
    assert breaker.admits()
    assert not opened().admits() and opened().reason == 'down'


def test_it_lets_one_request_through_after_good_checks_and_its_time() -> None:
    breaker = opened()
    breaker.note_check(True, '', 6 * SECOND)
    assert not breaker.admits(), 'one good check is not enough'
    breaker.note_check(False, 'down', 7 * SECOND)
    for _ in range(2):
        assert not breaker.admits(), 'they have to come in a row'
        breaker.note_check(True, '', 8 * SECOND)
    assert [breaker.admits(), breaker.admits()] == [True, False]
    breaker.note_success()
    assert breaker.admits() and breaker.admits() and breaker.reason == ''


def test_a_trial_that_fails_opens_it_for_twice_as_long() -> None:
    breaker = opened()
    for expected_s in (5, 10, 20, 40, 60, 60):
        begin_ns = breaker._opened_ns
        for _ in range(3):
            breaker.note_check(True, '', begin_ns + expected_s * SECOND - 1)
        assert breaker.state is BreakerState.OPEN
        breaker.note_check(True, '', begin_ns + expected_s * SECOND)
        assert breaker.admits()
        breaker.note_failure('down again', begin_ns + expected_s * SECOND)


def test_a_trial_that_was_cancelled_lets_another_through() -> None:
    breaker = opened()
    for _ in range(2):
        breaker.note_check(True, '', 9 * SECOND)
    assert breaker.admits()
    breaker.note_no_verdict()
    assert breaker.admits()


def test_checks_alone_open_it() -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=2))
    breaker.note_check(False, 'unreachable', 0)
    breaker.note_check(True, '', 1)
    breaker.note_check(False, 'unreachable', 2)
    assert breaker.state is BreakerState.CLOSED
    breaker.note_check(False, 'unreachable', 3)
    assert breaker.state is BreakerState.OPEN


def test_a_server_that_says_it_is_well_and_answers_nothing_is_left_alone() -> None:
    breaker = CircuitBreaker(BreakerLimits(failures=3))
    for second in range(3):
        assert breaker.admits()
        breaker.note_check(True, '', second * SECOND)
        breaker.note_failure('slow: nothing came', second * SECOND)
    assert breaker.state is BreakerState.OPEN and breaker.reason == 'slow: nothing came'


@given(st.lists(st.sampled_from(['ask', 'good', 'bad', 'fail', 'answer', 'none']), max_size=60))
@settings(max_examples=80, deadline=None)
def test_a_server_that_is_well_again_is_asked_again_whatever_came_before(events: list[str]) -> None:
    breaker = CircuitBreaker(BreakerLimits())
    for number, event in enumerate(events):
        now_ns = number * SECOND
        if event == 'ask':
            breaker.admits()
        elif event in ('good', 'bad'):
            breaker.note_check(event == 'good', 'bad', now_ns)
        elif event == 'fail':
            breaker.note_failure('failed', now_ns)
        elif event == 'answer':
            breaker.note_success()
        else:
            breaker.note_no_verdict()
    breaker.note_no_verdict()
    for second in range(len(events) + 100, len(events) + 200):
        breaker.note_check(True, '', second * SECOND)
    assert breaker.admits()
