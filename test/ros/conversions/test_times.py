# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds become stamps and durations of ROS, and come back."""

import pytest
from builtin_interfaces.msg import Time

from penguin_ros.frame import to_nanoseconds
from penguin_ros.ros.conversions.times import duration_message, time_message


@pytest.mark.parametrize('nanoseconds', [0, 1, 999_999_999, 10**9, 1_700_000_000_123_456_789])
def test_stamps_keep_every_nanosecond(nanoseconds):
    assert to_nanoseconds(time_message(nanoseconds)) == nanoseconds


@pytest.mark.parametrize('nanoseconds', [0, 1, -1, -1_500_000_000, 2_500_000_000])
def test_durations_keep_every_nanosecond_and_their_sign(nanoseconds):
    assert to_nanoseconds(duration_message(nanoseconds)) == nanoseconds


def test_times_beyond_a_message_are_held_at_its_limits():
    assert time_message(-5) == Time()
    assert time_message(2**80).sec == 2**31 - 1
    assert duration_message(2**80).sec == 2**31 - 1
