# SPDX-License-Identifier: Apache-2.0
"""When a rule is valid: times of the local day, on days of the week.

'08:00-18:00', 'mon-fri 08:00-18:00', 'fri,sat 22:00-06:00' (over midnight: the day is that of the
beginning), 'sat,sun' (all day). The clock is the local one of the machine, of ROS time: an hour
that daylight saving skips does not exist, one that it repeats counts twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from penguin_ros.frame import NANOSECONDS

DAYS = ('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun')
DAY_MINUTES = 24 * 60
_TIMES = re.compile(r'(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)')
_SHOWN = 64

LocalTime = Callable[[float], time.struct_time]
"""From seconds since 1970 to the local time; time.localtime is one."""


@dataclass(frozen=True)
class ValidTime:
    """Minutes of the day from `begin` to `end`, without the end, on `days` (0: Monday); an end that
    is not after the beginning lies on the day after.
    """

    days: frozenset[int]
    begin: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """Returns whether a minute of a day of the week lies in it."""
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        is_from_yesterday = (day - 1) % 7 in self.days and minute < self.end
        return is_from_yesterday or (day in self.days and minute >= self.begin)


def is_valid_at(
    texts: Sequence[str], stamp_ns: int, local_time: LocalTime = time.localtime
) -> bool:
    """Returns whether one of the times holds at a stamp, which counts from 1970; without times it
    is always so. ValueError as parsed_valid_times.
    """
    if not texts:
        return True
    now = local_time(stamp_ns // NANOSECONDS)
    minute = now.tm_hour * 60 + now.tm_min
    return any(each.holds(now.tm_wday, minute) for each in parsed_valid_times(tuple(texts)))


@lru_cache(maxsize=1024)
def parsed_valid_times(texts: tuple[str, ...]) -> tuple[ValidTime, ...]:
    """Returns the times; ValueError says which is none."""
    return tuple(map(_parsed, texts))


def _parsed(text: str) -> ValidTime:
    words = text.strip().lower()
    found = _TIMES.search(words)
    days = (words[: found.start()] if found else words).strip()
    if len(text) > _SHOWN or (found and found.end() != len(words)) or not words:
        raise ValueError(f'{text[:_SHOWN]!r} is no time')
    begin, end = (0, DAY_MINUTES)
    if found:
        hours = [int(number) for number in found.groups()]
        begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if max(hours[1], hours[3]) > 59 or begin >= DAY_MINUTES or end > DAY_MINUTES:
            raise ValueError(f'{text!r} has no time of the day')
        if begin == end:
            raise ValueError(f'{text!r} lasts no time; the name of a day alone is all of it')
    return ValidTime(_days(days, text), begin, end)


def _days(words: str, text: str) -> frozenset[int]:
    if not words:
        return frozenset(range(7))
    found: set[int] = set()
    for part in words.split(','):
        first, _, last = (name.strip() for name in part.partition('-'))
        if first not in DAYS or (last and last not in DAYS) or ('-' in part and not last):
            raise ValueError(f'{text!r} has no day {part.strip()!r}; days are {", ".join(DAYS)}')
        begin = DAYS.index(first)
        count = (DAYS.index(last) - begin) % 7 + 1 if last else 1
        found |= {(begin + step) % 7 for step in range(count)}
    return frozenset(found)
