# SPDX-License-Identifier: Apache-2.0
"""What was seen last is the newest mention whose picture shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from penguin_ros.memory.entry import Entry, Kind
from penguin_ros.recollection.last_seen import Sighting, last_seen, searches_of


def entry(number: int, end_ns: int, session: int = 1, digest: str = 'ab') -> Entry:
    return Entry(
        number, session, Kind.CAPTION, '/penguin', 'front', end_ns, end_ns, 'a red box', '', {},
        None, digest, end_ns, False,
    )  # fmt: skip


def sighting(
    mentions: Sequence[Entry], shown: Mapping[int, float], max_looks: int = 10, **more: bool
) -> tuple[Sighting, list[int]]:
    """Answers each look with `shown` by id; returns what was found and the ids looked at."""
    search = last_seen(mentions, 0.5, max_looks, **more)
    looked: list[int] = []
    try:
        each = next(search)
        while True:
            looked.append(each.id)
            each = search.send(shown[each.id])
    except StopIteration as end:
        return end.value, looked


def test_the_newest_mention_that_its_picture_confirms_is_found_and_newer_ones_are_refuted() -> None:
    mentions = [entry(1, 10), entry(2, 40), entry(3, 30), entry(4, 20)]
    found, looked = sighting(mentions, {1: 0.9, 2: 0.1, 3: 0.8, 4: 0.9})
    assert looked == [2, 3]
    assert found.entry == mentions[2]
    assert (found.is_confirmed, found.probability, found.looks) == (True, 0.8, 2)
    assert [each.id for each in found.refuted] == [2]


def test_the_last_session_is_newer_than_any_stamp_of_one_before() -> None:
    found, _ = sighting([entry(1, 10**9, session=1), entry(2, 5, session=2)], {2: 0.9})
    assert found.entry is not None
    assert found.entry.id == 2


def test_a_mention_without_a_picture_is_taken_unconfirmed() -> None:
    found, looked = sighting([entry(1, 10), entry(2, 40), entry(3, 30, digest='')], {2: 0.1})
    assert looked == [2]
    assert found.entry is not None
    assert found.entry.id == 3
    assert not found.is_confirmed


def test_no_more_pictures_are_looked_at_than_allowed() -> None:
    found, looked = sighting([entry(i, i) for i in range(1, 9)], dict.fromkeys(range(9), 0.0), 3)
    assert looked == [8, 7, 6]
    assert found.entry is not None
    assert found.entry.id == 5
    assert not found.is_confirmed


def test_when_every_picture_refutes_it_nothing_is_found() -> None:
    found, _ = sighting([entry(1, 10), entry(2, 20)], {1: 0.4, 2: 0.4})
    assert found.entry is None
    assert len(found.refuted) == 2
    assert sighting([], {})[0] == Sighting(None)


def test_captions_alone_are_trusted_where_nobody_looks() -> None:
    found, looked = sighting([entry(1, 10), entry(2, 20)], {}, is_looking=False)
    assert not looked
    assert found.entry is not None
    assert found.entry.id == 2


@pytest.mark.parametrize(
    ('thing', 'searches'),
    [
        ('the red box', ('"red box"', 'red box')),
        ('a "red" -box!', ('"red box"', 'red box')),
        ('The', ()),
        ('  my   keys ', ('keys',)),
        ('forklift', ('forklift',)),
    ],
)
def test_a_thing_becomes_searches_without_any_syntax_of_its_own(
    thing: str, searches: tuple[str, ...]
) -> None:
    assert searches_of(thing) == searches
