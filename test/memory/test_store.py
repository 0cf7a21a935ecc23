# SPDX-License-Identifier: Apache-2.0
"""What is remembered is found again by words, time, place and names, after a restart too."""

from __future__ import annotations

import dataclasses
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.memory_entries import SECOND, caption, filled, texts

from penguin_ros.errors import InvalidRequest, StoreInUse, UnknownEntry
from penguin_ros.memory import search
from penguin_ros.memory.entry import Kind, NewEntry, Pose
from penguin_ros.memory.filter import Filter, Interval, Place
from penguin_ros.memory.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / 'memory') as opened:
        yield opened


def test_an_entry_comes_back_as_it_was_after_a_restart(tmp_path: Path) -> None:
    picture = b'\xff\xd8\xff a picture'
    pose = Pose('map', 1.5, -2.0, 0.1, 0.0, 0.0, 0.6, 0.8, 7)
    evidence = {'frames': [{'stamp_ns': 5, 'type': 'key'}], 'model_name': 'penguin', 'ü': [1, None]}
    answer = NewEntry(
        Kind.ANSWER, '/penguin', 'front', 3, 9, 'Yes.', 'Is it open?', evidence, pose, picture, 8
    )
    with Store.open(tmp_path) as store:
        filled(store, [answer])
    for is_read_only in (False, True):
        with Store.open(tmp_path, is_read_only=is_read_only) as store:
            (hit,) = store.recall(Filter(words='open', kinds=(Kind.ANSWER,))).hits
            found = hit.entry
            assert (found.text, found.question, found.evidence) == ('Yes.', 'Is it open?', evidence)
            assert (found.pose, found.start_ns, found.end_ns) == (pose, 3, 9)
            assert store.picture(found) == picture and hit.matches == ('words', 'kind')
            assert store.entries([found.id]) == [found]


@pytest.mark.parametrize('lateness', [0, 40, 400])
def test_filters_find_what_a_plain_loop_finds(
    store: Store, lateness: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (('FEW_ROWS', 5), ('ROWS_AT_ONCE', 11), ('FIRST_WINDOW', 30)):
        monkeypatch.setattr(search, name, value)
    monkeypatch.setattr(search, 'MAX_LATENESS_NS', 50 * SECOND)
    chance = random.Random(5)
    entries = [
        caption(
            number,
            f'{chance.choice(["a red box", "a blue ball", "a box of red", "nothing"])} {number}',
            camera=chance.choice(['front', 'back']),
            pose=Pose('map', chance.uniform(0, 9), chance.uniform(0, 9))
            if chance.random() < 0.8
            else None,
        )
        for number in range(400)
    ]
    places = [number + chance.uniform(0, lateness) for number in range(len(entries))]
    order = [entries[at] for at in sorted(range(len(entries)), key=places.__getitem__)]
    filled(store, order)

    def plain(words: str, begin: int, end: int, camera: str, place: Place | None) -> list[str]:
        return [
            entry.text
            for entry in reversed(entries)
            if (not words or words.strip('"') in entry.text)
            and entry.end_ns >= begin
            and entry.start_ns <= end
            and camera in ('', entry.camera)
            and (
                place is None
                or (
                    entry.pose
                    and (entry.pose.x - place.x) ** 2 + (entry.pose.y - place.y) ** 2
                    <= place.radius**2
                )
            )
        ]

    for words in ('', '"red box"', 'ball'):
        for begin, end in ((0, 1000), (100, 200), (399, 399)):
            for camera in ('', 'back'):
                for place in (None, Place('map', 4.0, 5.0, 3.0)):
                    interval = Interval(begin * SECOND, end * SECOND)
                    wanted = plain(words, interval.start_ns, interval.end_ns, camera, place)
                    asked = Filter(
                        words,
                        interval=interval,
                        camera=camera,
                        place=place,
                        is_newest_first=True,
                        limit=7,
                    )
                    found, page = [], store.recall(asked)
                    while True:
                        found += texts(page)
                        if not page.next_page:
                            break
                        page = store.recall(dataclasses.replace(asked, page=page.next_page))
                    assert found == wanted
                    best = store.recall(dataclasses.replace(asked, is_newest_first=False, limit=99))
                    assert sorted(texts(best)) == sorted(wanted)[:99] or len(wanted) > 99


def test_pages_do_not_shift_while_more_comes(store: Store) -> None:
    filled(store, [caption(number, 'a box') for number in range(10)])
    for is_newest_first in (False, True):
        asked = Filter('box', limit=4, is_newest_first=is_newest_first)
        first = store.recall(asked)
        filled(store, [caption(100 + is_newest_first, 'a box')])
        second = store.recall(dataclasses.replace(asked, page=first.next_page))
        ids = [hit.entry.id for hit in (*first.hits, *second.hits)]
        assert len(set(ids)) == 8 and ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    'asked',
    [
        Filter('---'),
        Filter('-box'),
        Filter('""'),
        Filter('x' * 3000),
        Filter(limit=0),
        Filter(interval=Interval(5, 4)),
        Filter(interval=Interval(-1, 4)),
        Filter(place=Place('map', float('nan'), 0, 1)),
        Filter(place=Place('map', 0, 0, 0)),
        Filter(place=Place('', 0, 0, 1)),
        Filter(place=Place('odom', 0, 0, 1)),
        Filter(camera='bcak'),
        Filter(node='/other'),
        Filter('box', page='W10='),
        Filter('box', page='%%%'),
        Filter(meaning='a box', is_newest_first=True),
    ],
    ids=repr,
)
def test_a_filter_that_makes_no_sense_is_refused(store: Store, asked: Filter) -> None:
    filled(store, [caption(1, 'a box', pose=Pose('map', 0, 0))])
    with pytest.raises(InvalidRequest):
        store.recall(asked)


def test_what_comes_twice_is_stored_once_and_sessions_are_kept_apart(store: Store) -> None:
    filled(store, [caption(1, 'a box'), caption(1, 'a box')])
    assert store.stats().duplicates == 1
    first = store.session
    store.begin_session('the clock was set back')
    filled(store, [caption(1, 'a box'), caption(0, 'a ball')])
    newest = store.recall(Filter())
    assert [(hit.entry.session - first, hit.entry.text) for hit in newest.hits] == [
        (1, 'a box'),
        (1, 'a ball'),
        (0, 'a box'),
    ]
    assert len(store.recall(Filter(session=first)).hits) == 1


def test_only_the_owner_may_read_the_files(store: Store) -> None:
    filled(store, [caption(1, picture=b'\xff\xd8\xffx')])
    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in store.folder.rglob('*') if path.is_file()
    }
    assert modes == {0o600}
    folders = [store.folder, *(path for path in store.folder.rglob('*') if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_a_second_writer_is_refused_and_a_reader_is_not(store: Store) -> None:
    filled(store, [caption(1)])
    with pytest.raises(StoreInUse, match=str(os.getpid())):
        Store.open(store.folder)
    with Store.open(store.folder, is_read_only=True) as reader:
        assert texts(reader.recall(Filter())) == ['n1']


def test_an_entry_or_picture_that_is_not_there_is_named(store: Store) -> None:
    filled(store, [caption(1, picture=b'\xff\xd8\xffx'), caption(2)])
    two, one = (hit.entry for hit in store.recall(Filter()).hits)
    with pytest.raises(UnknownEntry, match='77'):
        store.entries([77])
    with pytest.raises(UnknownEntry, match='none was stored'):
        store.picture(two)
    next(store.folder.rglob('*.jpg')).write_bytes(b'something else')
    with pytest.raises(UnknownEntry, match='missing or damaged'):
        store.picture(one)
