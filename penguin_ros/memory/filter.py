# SPDX-License-Identifier: Apache-2.0
"""What to look for, and the refusal of what makes no sense: a filter is never ignored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from penguin_ros.errors import InvalidRequest
from penguin_ros.memory.entry import Kind

DEFAULT_LIMIT = 20
MAX_LIMIT = 10_000
MAX_CHARACTERS = 2000
MAX_STAMP_NS = 2**63 - 1


@dataclass(frozen=True)
class Interval:
    """From `start_ns` to `end_ns`, both included."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Place:
    """Within `radius` metres of a point of the plane, in a coordinate frame of stored poses."""

    frame: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Filter:
    """All that is given must hold.

    `words` must stand in the text or question: red box, "red box", red -box. `meaning` is a
    sentence; it orders what the rest lets through. An entry is of the `interval` when the two
    overlap. `session` is the number of a session; None: all. With `is_either`, an entry is found by
    words or by meaning, where both are given. `page` is the next_page of the search before.
    """

    words: str = ''
    meaning: str = ''
    is_either: bool = False
    interval: Interval | None = None
    session: int | None = None
    camera: str = ''
    node: str = ''
    place: Place | None = None
    kinds: tuple[Kind, ...] = ()
    is_newest_first: bool = False
    limit: int = DEFAULT_LIMIT
    page: str = ''

    @property
    def is_ranked(self) -> bool:
        """True when the best come first, False when the newest do."""
        return bool(self.words or self.meaning) and not self.is_newest_first


def check_filter(asked: Filter) -> None:
    """Raises InvalidRequest when no entry could ever fit, or a value is out of its range."""
    for name, text in (('words', asked.words), ('meaning', asked.meaning)):
        if len(text) > MAX_CHARACTERS:
            raise _refusal(name, f'{len(text)} characters', f'at most {MAX_CHARACTERS}')
        if text and not any(character.isalnum() for character in text):
            raise _refusal(name, repr(text), 'something with letters or digits')
    if not 1 <= asked.limit <= MAX_LIMIT:
        raise _refusal('limit', str(asked.limit), f'1 to {MAX_LIMIT}')
    if asked.is_newest_first and asked.meaning and not asked.words:
        raise InvalidRequest(
            'newest first, by meaning',
            'everything has some meaning, so the newest entries would be found whatever they say',
            'Ask for the best first, or give words',
        )
    for kind in asked.kinds:
        if kind not in tuple(Kind):
            raise _refusal('kinds', str(int(kind)), 'one of the kinds of MemoryEntry')
    if asked.interval:
        _check_interval(asked.interval)
    if asked.place:
        _check_place(asked.place)


def _check_interval(interval: Interval) -> None:
    start, end = interval.start_ns, interval.end_ns
    if not 0 <= start <= MAX_STAMP_NS or not 0 <= end <= MAX_STAMP_NS:
        raise _refusal('interval', f'{start} to {end} ns', 'stamps from 0 to 2^63 - 1')
    if end < start:
        raise InvalidRequest(
            f'the interval from {start} to {end} ns', 'it ends before it starts', 'Exchange the two'
        )


def _check_place(place: Place) -> None:
    if not math.isfinite(place.x) or not math.isfinite(place.y):
        raise _refusal('place', f'({place.x}, {place.y})', 'finite coordinates in metres')
    if not math.isfinite(place.radius) or place.radius <= 0:
        raise _refusal('radius', str(place.radius), 'metres, greater than 0')
    if not place.frame:
        raise InvalidRequest(
            'a place without a coordinate frame',
            'numbers alone say no place',
            'Name the frame of the stored poses, map usually',
        )


def _refusal(name: str, value: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f'{name}: {value}', f'it takes {wanted}')


def unknown_name(what: str, name: str, known: Sequence[str]) -> InvalidRequest:
    """Returns the refusal of a camera, node or frame of which nothing is stored."""
    stored = ', '.join(sorted(known)[:12]) or 'none'
    return InvalidRequest(
        f'nothing is stored of the {what} {name!r}', f'what is stored has: {stored}'
    )
