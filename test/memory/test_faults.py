# SPDX-License-Identifier: Apache-2.0
"""Damaged, foreign, newer and older databases, a disk that is full or read-only, hostile texts, and
clocks: the store lives, and says what is wrong and what to do.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.memory_entries import SECOND, caption, filled, texts

from penguin_ros.errors import InvalidRequest, StoreDamaged, StoreError, StoreTooNew, SystemRefusal
from penguin_ros.memory import schema
from penguin_ros.memory.changes import Changes
from penguin_ros.memory.checking import check, mend
from penguin_ros.memory.database import DATABASE
from penguin_ros.memory.entry import NewEntry, Pose
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.limits import StoreLimits
from penguin_ros.memory.pictures import Pictures
from penguin_ros.memory.rows import MAX_TEXT
from penguin_ros.memory.store import Store

PICTURE = b'\xff\xd8\xff picture '
HOSTILE = [
    '"unbalanced AND NOT (',
    'text:box OR NEAR(a b)',
    "'; DROP TABLE entry; --",
    'box*^ {col}: +x "',
    '\x1b[31mred\x1b[0m b\x00x',
    '\u202eoverride\u2066 \ud800 surrogate',
    'a' * 2000,
    '🦊 ünïcödé 箱',
]


def damage(path: Path) -> None:
    with path.open('r+b') as file:
        for place in range(4096, path.stat().st_size, 4096):
            file.seek(place + 100)
            file.write(os.urandom(2000))


@pytest.mark.parametrize('is_rubbish', [True, False])
def test_a_damaged_database_is_put_aside_by_name_and_the_memory_starts_empty(
    tmp_path: Path, is_rubbish: bool
) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(number, 'a red box') for number in range(300)])
    path = tmp_path / DATABASE
    if is_rubbish:
        path.write_bytes(b'no database at all' * 1000)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE fact SET value = '1' WHERE name = 'open'")
            connection.commit()
        damage(path)
    content = path.read_bytes()
    with pytest.raises(StoreDamaged, match='penguin memory check'):
        check(tmp_path)
    with Store.open(tmp_path) as store:
        assert 'is kept as' in store.stats().note
        filled(store, [caption(1, 'a new start')])
        assert texts(store.recall(Filter())) == ['a new start']
    (aside,) = tmp_path.glob('*.damaged-*')
    assert aside.read_bytes() == content and str(aside) in check(tmp_path)[-1].remark


def test_damage_that_shows_while_searching_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(number, f'a red box {number} ' * 20) for number in range(300)])
    with Store.open(tmp_path, is_read_only=True) as store:
        damage(tmp_path / DATABASE)
        with pytest.raises(StoreDamaged, match='--mend'):
            for number in range(300):
                store.recall(Filter(words=f'box {number}', limit=300))
    assert mend(tmp_path) and mend(tmp_path) == ''


def test_a_newer_version_and_a_foreign_database_are_refused_unchanged(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(1)])
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute(f'PRAGMA user_version = {schema.VERSION + 1}')
    for is_read_only in (False, True):
        with pytest.raises(StoreTooNew, match='Update penguin_ros'):
            Store.open(tmp_path, is_read_only=is_read_only)
    other = tmp_path / 'other'
    other.mkdir()
    with closing(sqlite3.connect(other / DATABASE)) as connection:
        connection.execute('CREATE TABLE recipes(name)')
        connection.commit()
    with pytest.raises(StoreError, match='something else'):
        Store.open(other)
    with closing(sqlite3.connect(other / DATABASE)) as connection:
        assert connection.execute('SELECT name FROM sqlite_master').fetchall() == [('recipes',)]


def test_an_older_version_is_migrated_and_a_copy_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(1, 'of old')])
    old = schema.VERSION
    monkeypatch.setattr(schema, 'VERSION', old + 1)
    monkeypatch.setitem(schema.MIGRATIONS, old, 'CREATE TABLE more(id); SELECT broken')
    with pytest.raises(StoreError, match='broken'):
        Store.open(tmp_path)
    monkeypatch.setitem(schema.MIGRATIONS, old, 'CREATE TABLE more(id)')
    with pytest.raises(StoreError, match=f'older version {old}'):
        Store.open(tmp_path, is_read_only=True)
    with Store.open(tmp_path) as store:
        assert 'a copy is kept' in store.stats().note
        assert texts(store.recall(Filter())) == ['of old']
    copy = tmp_path / f'{DATABASE}.version-{old}'
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute('PRAGMA user_version').fetchone() == (old,)
        assert connection.execute('SELECT text FROM content').fetchall() == [('of old',)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_refused_and_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(1)])
    access = os.access
    monkeypatch.setattr(os, 'access', lambda path, mode: mode & os.W_OK == 0 and access(path, mode))
    with pytest.raises(SystemRefusal, match='cannot be written'):
        Store.open(tmp_path)
    before = sorted(tmp_path.iterdir())
    with Store.open(tmp_path, is_read_only=True) as store:
        assert texts(store.recall(Filter())) == ['n1']
        with pytest.raises(StoreError, match='reading only'):
            store.add(caption(2))
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(StoreError, match='there is no memory'):
        Store.open(tmp_path / 'nowhere', is_read_only=True)


def test_on_a_full_disk_pictures_stop_first_and_then_the_oldest_leave_but_what_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = StoreLimits(commit_seconds=0.05, min_free_mebibytes=0)
    with Store.open(tmp_path, limits) as store:
        filled(
            store, [caption(n, picture=PICTURE + b'%d' % n, is_pinned=n == 3) for n in range(60)]
        )

        def no_space(*_: object) -> None:
            raise OSError(errno.ENOSPC, 'No space left on device')

        monkeypatch.setattr(Pictures, '_write', no_space)
        filled(store, [caption(100, picture=PICTURE)])
        stats = store.stats()
        assert stats.pictures_left_out == 1 and 'no picture is stored' in stats.trouble
        assert 'No space left' in stats.last_error and stats.pictures == 60
        add, refusals = Changes.add, iter(range(1))

        def full(self: Changes, batch: list[tuple[NewEntry, int]]) -> None:
            if next(refusals, None) is not None:
                raise sqlite3.OperationalError('database or disk is full')
            add(self, batch)

        monkeypatch.setattr(Changes, 'add', full)
        filled(store, [caption(200, 'the newest')])
        stats = store.stats()
        assert 'the oldest leave' in stats.trouble and stats.pictures == 1
        found = store.recall(Filter(limit=100))
        assert texts(found)[0] == 'the newest' and 'n3' in texts(found) and stats.dropped == 0
        assert len(found.hits) > 10


def test_on_a_disk_that_is_really_full_the_newest_take_the_place_of_the_oldest(
    tmp_path: Path,
) -> None:
    script = Path(__file__).parents[1] / 'support' / 'full_disk_store.py'
    done = subprocess.run(
        ['unshare', '-rm', sys.executable, script, tmp_path / 'disk'],
        env=os.environ | {'PYTHONPATH': os.pathsep.join([str(script.parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if 'unshare failed' in done.stderr or 'mount: ' in done.stderr:
        pytest.skip(f'no disk can be mounted here: {done.stderr.strip()[:80]}')
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found['pictures_stop_at'] <= found['oldest_leave_at'], found
    assert found['newest'].startswith('number1199') and found['pinned_is_whole'], found
    assert found['dropped'] == 0 and found['integrity'] == 'ok' and found['errors']['write'], found
    assert 100 < found['kept'] < 1200, found


def test_an_error_of_the_writer_is_seen_and_what_waits_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('penguin_ros.memory.writer.RETRY_SECONDS', 0.05)
    add, refusals = Changes.add, iter(range(2))

    def refused(self: Changes, batch: list[tuple[NewEntry, int]]) -> None:
        if next(refusals, None) is not None:
            raise sqlite3.OperationalError('disk I/O error')
        if any('poison' in entry.text for entry, _ in batch):
            raise ValueError('poison')
        add(self, batch)

    monkeypatch.setattr(Changes, 'add', refused)
    with Store.open(tmp_path, StoreLimits(commit_seconds=0.05)) as store:
        filled(store, [caption(1), caption(2, 'poison'), caption(3)])
        for _ in range(200):
            store.flush()
            if store.stats().waiting == 0:
                break
        assert texts(store.recall(Filter())) == ['n3', 'n1']
        stats = store.stats()
        assert stats.dropped == 1 and stats.errors['write'] >= 3 and 'poison' in stats.last_error


def test_hostile_texts_are_stored_found_and_searched_for_without_harm(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(number, text) for number, text in enumerate(HOSTILE)])
        filled(store, [caption(99, 'x' * (10 << 20) + ' end', camera=HOSTILE[4], node=HOSTILE[5])])
        for text in HOSTILE:
            try:
                store.recall(Filter(words=text))
            except InvalidRequest:
                continue
        found = store.recall(Filter(limit=50))
        assert len(found.hits) == len(HOSTILE) + 1
        assert len(found.hits[0].entry.text) == MAX_TEXT and store.stats().cut_texts == 1
        assert '\x1b' not in found.hits[0].entry.camera
        assert texts(store.recall(Filter(words='ünïcode'))) == [HOSTILE[-1]]
        assert texts(store.recall(Filter(words='unicode'))) == [HOSTILE[-1]]
        assert store.stats().errors == {}


@pytest.mark.parametrize(
    'entry',
    [
        caption(1, start_ns=5, end_ns=4),
        caption(1, start_ns=-1),
        caption(1, end_ns=2**63),
        caption(1, kind=7),
        caption(1, pose=Pose('map', float('nan'), 0)),
        caption(1, pose=Pose('map', 0, float('inf'))),
    ],
    ids=repr,
)
def test_an_entry_with_impossible_values_is_refused(tmp_path: Path, entry: NewEntry) -> None:
    with Store.open(tmp_path) as store, pytest.raises(InvalidRequest):
        store.add(entry)


def test_missing_pictures_are_counted_by_a_check_and_stray_files_leave(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(n, picture=PICTURE + b'%d' % n, picture_ns=n) for n in range(3)])
    paths = sorted(tmp_path.rglob('*.jpg'))
    paths[0].unlink()
    stray = paths[1].with_name('0' * 32 + '.jpg')
    stray.write_bytes(b'left behind')
    verdict = check(tmp_path)[-1]
    assert not verdict.is_whole and '1 of 3' in verdict.remark and '1 files' in verdict.remark
    Store.open(tmp_path).close()
    assert not stray.exists() and paths[1].exists()


def test_more_than_may_wait_is_dropped_and_counted(tmp_path: Path) -> None:
    limits = StoreLimits(commit_seconds=60.0, max_waiting=16)
    with Store.open(tmp_path, limits) as store:
        taken = [store.add(caption(number)) for number in range(20)]
        assert taken == [True] * 16 + [False] * 4 and store.stats().dropped == 4
        store.flush()
        assert len(store.recall(Filter()).hits) == 16
        assert store.newest_ns() == 16 * SECOND
