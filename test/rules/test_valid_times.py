# SPDX-License-Identifier: Apache-2.0
"""Valid times hold when the local clock and the day of the week say so, over midnight too."""

from __future__ import annotations

import time

import pytest

from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.valid_times import DAYS, is_valid_at

MONDAY_S = 4 * 86400  # 1970-01-05, a Monday


def holds(texts: list[str], day: str, clock: str) -> bool:
    hour, minute = map(int, clock.split(':'))
    seconds = MONDAY_S + DAYS.index(day) * 86400 + hour * 3600 + minute * 60
    return is_valid_at(texts, seconds * NANOSECONDS + 999_999_999, time.gmtime)


@pytest.mark.parametrize(
    ('text', 'inside', 'outside'),
    [
        ('08:00-18:00', 'mon 08:00, sun 17:59', 'mon 07:59, sun 18:00, wed 00:00'),
        ('mon-fri 08:00-18:00', 'mon 08:00, fri 17:59', 'sat 12:00, sun 12:00, fri 18:00'),
        ('fri 22:00-06:00', 'fri 22:00, fri 23:59, sat 00:00, sat 05:59', 'fri 21:59, fri 03:00'),
        ('sun 23:00-01:00', 'sun 23:00, mon 00:59', 'mon 01:00, sun 00:30'),
        ('sat-mon', 'sat 00:00, sun 12:00, mon 23:59', 'tue 00:00, fri 23:59'),
        ('mon,wed 00:00-24:00', 'mon 00:00, mon 23:59, wed 12:00', 'tue 12:00, thu 00:00'),
        (' FRI , sun-sun 10:00 - 11:00 ', 'fri 10:30, sun 10:00', 'sat 10:30, fri 11:00'),
    ],
)
def test_a_time_holds_on_its_days_and_between_its_hours(
    text: str, inside: str, outside: str
) -> None:
    assert [moment for moment in inside.split(', ') if not holds([text], *moment.split())] == []
    assert [moment for moment in outside.split(', ') if holds([text], *moment.split())] == []


def test_without_times_a_rule_always_counts_and_with_several_one_is_enough() -> None:
    assert holds([], 'tue', '03:00')
    assert holds(['mon', '02:00-04:00'], 'tue', '03:00')
    assert not holds(['mon', '02:00-04:00'], 'tue', '05:00')


@pytest.mark.parametrize(
    'text',
    ['', ' ', '8:00-9:00', '25:00-26:00', '08:60-09:00', '08:00', '08:00-08:00', 'monday', 'mon-']
    + ['mon 08:00-09:00 tue', '-', 'mon,,tue', '24:00-25:00', '08:00-24:01', 'x' * 10_000],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='no time|no day'):
        is_valid_at([text], 0)
