# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds of the core as ROS times and durations; frame.to_nanoseconds is the way back."""

from __future__ import annotations

from builtin_interfaces.msg import Duration, Time

from penguin_ros.frame import NANOSECONDS

_INT32_MAX = 2**31 - 1


def time_message(stamp_ns: int) -> Time:
    """Returns nanoseconds as a stamp, held within what a stamp can carry."""
    seconds, nanoseconds = divmod(max(0, stamp_ns), NANOSECONDS)
    return Time(sec=min(seconds, _INT32_MAX), nanosec=nanoseconds)


def duration_message(duration_ns: int) -> Duration:
    """Returns nanoseconds as a duration, held within what a duration can carry.

    Durations may be negative: a frame ahead of the clock has a negative age.
    """
    seconds, nanoseconds = divmod(duration_ns, NANOSECONDS)
    return Duration(sec=max(-_INT32_MAX, min(seconds, _INT32_MAX)), nanosec=nanoseconds)
