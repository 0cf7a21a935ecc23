# SPDX-License-Identifier: Apache-2.0
"""Whether a store is whole: the database, its index of words, and the files of the pictures."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.memory.database import DAMAGED, DATABASE, FolderLock, open_reader, open_writer
from penguin_ros.memory.pictures import Pictures

SHOWN = 5


@dataclass(frozen=True)
class Verdict:
    """What was looked at, whether it is whole, and what is wrong."""

    what: str
    is_whole: bool
    remark: str


def check(folder: Path) -> list[Verdict]:
    """Looks at everything in a store that no other process writes to, and changes nothing but its
    version, where that is an older one. StoreError when the store cannot be opened at all.
    """
    lock = FolderLock(folder)
    try:
        with closing(_migrated(folder)) as connection:
            verdicts = [_database(connection)]
            if verdicts[0].is_whole:
                verdicts += [
                    _rows(connection),
                    _words(folder),
                    _pictures(connection, Pictures(folder)),
                ]
    finally:
        lock.close()
    return [*verdicts, *_put_aside(folder)]


def mend(folder: Path) -> str:
    """Puts a damaged database aside, so that the memory can start empty; returns what was done, ''
    when it is sound.
    """
    lock = FolderLock(folder)
    try:
        connection, note = open_writer(folder, is_doubted=True)
        connection.close()
    finally:
        lock.close()
    return note


def _migrated(folder: Path) -> sqlite3.Connection:
    if (folder / DATABASE).is_file():
        connection, _ = open_writer(folder, may_put_aside=False)
        connection.close()
    return open_reader(folder)


def _database(connection: sqlite3.Connection) -> Verdict:
    try:
        lines = [row[0] for row in connection.execute(f'PRAGMA integrity_check({SHOWN})')]
    except sqlite3.DatabaseError as error:
        lines = [str(error)]
    return Verdict('database', lines == ['ok'], '; '.join(lines) if lines != ['ok'] else '')


def _rows(connection: sqlite3.Connection) -> Verdict:
    query = (
        'SELECT (SELECT count(*) FROM entry WHERE id NOT IN (SELECT id FROM content)), '
        '(SELECT count(*) FROM content WHERE id NOT IN (SELECT id FROM entry)), '
        '(SELECT count(*) FROM entry)'
    )
    without_text, without_entry, count = connection.execute(query).fetchone()
    bad = without_text + without_entry
    return Verdict('entries', not bad, f'{bad} of {count} lack a part' if bad else f'{count}')


def _words(folder: Path) -> Verdict:
    try:
        with closing(sqlite3.connect(folder / DATABASE)) as connection:
            connection.execute("INSERT INTO words(words, rank) VALUES ('integrity-check', 1)")
            connection.rollback()
    except sqlite3.DatabaseError as error:
        return Verdict('index of words', False, str(error))
    return Verdict('index of words', True, '')


def _pictures(connection: sqlite3.Connection, pictures: Pictures) -> Verdict:
    known = [row[0] for row in connection.execute('SELECT file FROM picture')]
    missing = [file for file in known if pictures.read(file) is None]
    strays = len(set(pictures.files()) - set(known))
    remark = f'{len(known)}'
    if missing:
        remark = f'{len(missing)} of {len(known)} are missing or damaged: {missing[0]}, ...'
    if strays:
        remark += f'; {strays} files belong to none, and leave when the memory is next opened'
    return Verdict('pictures', not missing, remark)


def _put_aside(folder: Path) -> list[Verdict]:
    files = sorted(folder.glob(f'{DATABASE}{DAMAGED}*'))
    return [
        Verdict('put aside', True, f'{path} was damaged; rm it when not needed') for path in files
    ]
