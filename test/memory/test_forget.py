# SPDX-License-Identifier: Apache-2.0
"""What is forgotten cannot be read from any file of the store any more; the rest stays whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.memory_entries import SECOND, caption, filled, texts

from penguin_ros.errors import InvalidRequest
from penguin_ros.memory.database import DAMAGED, DATABASE
from penguin_ros.memory.entry import Kind, NewEntry
from penguin_ros.memory.filter import Filter, Interval
from penguin_ros.memory.store import Store

SECRETS = ('zanzibarquux', 'glimmerfudge', 'picklewhistle')


def files_with(folder: Path, secret: bytes) -> list[str]:
    return [
        path.name for path in folder.rglob('*') if path.is_file() and secret in path.read_bytes()
    ]


def entries() -> list[NewEntry]:
    """Entries of which every seventh, and all from 300 to 360 seconds, say a secret."""
    chance = random.Random(2)
    found = []
    for number in range(900):
        is_secret = 300 <= number < 360
        text = ' '.join(f'word{chance.randrange(500)}' for _ in range(chance.randrange(5, 60)))
        if is_secret:
            text = f'{text} {SECRETS[number % 2]} {text}'
        picture = (
            b'\xff\xd8\xff' + (SECRETS[2].encode() if is_secret else b'plain') + b'%d' % number
        )
        question = f'who is {SECRETS[1]}?' if is_secret and number % 3 == 0 else ''
        kind = Kind.ANSWER if question else Kind.CAPTION
        found.append(
            caption(number, text, picture=picture, picture_ns=number, question=question, kind=kind)
        )
    return found


def test_no_file_holds_what_was_forgotten_in_words_or_bytes(tmp_path: Path) -> None:
    said = entries()
    with Store.open(tmp_path) as store:
        filled(store, said)
        assert all(files_with(tmp_path, secret.encode()) for secret in SECRETS)
        backup = tmp_path / f'{DATABASE}.version-0'
        backup.write_bytes(SECRETS[0].encode())
        forgotten = store.forget(Filter(interval=Interval(301 * SECOND, 359 * SECOND)))
        assert (forgotten.entries, forgotten.pictures, forgotten.remarks) == (60, 60, ())
        for secret in SECRETS:
            assert files_with(tmp_path, secret.encode()) == []
        assert store.recall(Filter(words='word7', limit=900)).hits
        assert store.stats().entries['caption'] == 840
    with Store.open(tmp_path) as store:
        kept = [entry.text for entry in said if not 300 <= entry.start_ns // SECOND < 360]
        assert sorted(texts(store.recall(Filter(limit=900)))) == sorted(kept)
        for hit in store.recall(Filter(limit=900)).hits:
            assert store.picture(hit.entry)
        for secret in SECRETS:
            assert files_with(tmp_path, secret.encode()) == []
            assert not store.recall(Filter(words=secret)).hits


def test_forgetting_tells_of_a_damaged_file_that_it_could_not_search(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(1)])
        (tmp_path / f'{DATABASE}{DAMAGED}20260101T000000Z').write_text('old')
        assert 'rm it' in store.forget(Filter()).remarks[0]
        assert store.recall(Filter()).hits == ()


def test_forgetting_by_words_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, pytest.raises(InvalidRequest, match='other words'):
        store.forget(Filter(words='box'))


def test_a_picture_leaves_with_the_last_entry_that_has_it(tmp_path: Path) -> None:
    picture = b'\xff\xd8\xffsame'
    with Store.open(tmp_path) as store:
        filled(store, [caption(number, picture=picture, picture_ns=1) for number in (1, 100)])
        assert len(list(tmp_path.rglob('*.jpg'))) == 1
        store.forget(Filter(interval=Interval(0, 50 * SECOND)))
        (hit,) = store.recall(Filter()).hits
        assert store.picture(hit.entry) == picture
        store.forget(Filter())
        assert list(tmp_path.rglob('*.jpg')) == []
