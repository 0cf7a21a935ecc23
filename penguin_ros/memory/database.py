# SPDX-License-Identifier: Apache-2.0
"""The database file of a store: opened for its one writer or for readers, brought to the current
version, and put aside when it is damaged.

Only the owner may read or write it. The log that SQLite writes ahead (WAL) is synced with every
commit, so that a commit is what survives a power cut.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from penguin_ros.errors import StoreDamaged, StoreError, StoreInUse, StoreTooNew, system_refusal
from penguin_ros.memory import schema

DATABASE = 'memory.db'
LOCK = 'lock'
BACKUP = '.version-'
DAMAGED = '.damaged-'
LOG_PAGES = 1000
LOG_BYTES = 8 << 20
CACHE_KIB = 2000
BUSY_SECONDS = 5.0


def make_folder(folder: Path) -> None:
    """Makes the folder of a store, for its owner only; SystemRefusal when that is not possible."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, 'Permission denied', str(folder))
    except OSError as error:
        raise system_refusal(error, f'the memory in {folder} cannot be written') from error


class FolderLock:
    """Keeps a second process from writing to a store; it ends with the process, however that
    ends.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise system_refusal(error, f'the memory in {folder} cannot be written') from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._descriptor, 32, 0).decode('ascii', 'replace').strip() or '?'
            os.close(self._descriptor)
            raise StoreInUse(
                f'the memory in {folder} is in use',
                f'process {owner} writes to it, and there can be one writer only',
                'Stop that process, or take another folder',
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f'{os.getpid()}\n'.encode(), 0)

    def close(self) -> None:
        """Lets others write."""
        os.close(self._descriptor)


def open_writer(
    folder: Path, *, may_put_aside: bool = True, is_doubted: bool = False
) -> tuple[sqlite3.Connection, str]:
    """Opens the database for its one writer, on any one thread; it is made where there is none.

    Returns it with a line about what had to be done, '' usually: a damaged database is put aside
    under a name that the line says, and an empty one takes its place; an older one is copied, then
    migrated. StoreTooNew when it is of a newer version. With `is_doubted` all of it is checked, as
    it is otherwise only when it was not closed before; without `may_put_aside` StoreDamaged is
    raised when it is damaged.
    """
    path, note = folder / DATABASE, ''
    try:
        connection = _writer(path)
        note = _current(connection, path, is_doubted)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise StoreError(f'{path} cannot be opened', str(error), 'Check that disk') from error
        if not may_put_aside:
            raise damaged(folder, error) from error
        aside = _put_aside(path)
        note = f'{path} was damaged ({error}): it is kept as {aside}, and the memory starts empty'
        connection = _writer(path)
        _current(connection, path, False)
    return connection, note


def is_damage(error: sqlite3.Error) -> bool:
    """True when the error says that the file is damaged, not that it is busy or the disk full."""
    is_other = isinstance(error, (sqlite3.OperationalError, sqlite3.IntegrityError))
    return not is_other and isinstance(error, sqlite3.DatabaseError) or 'malformed' in str(error)


def is_full(error: Exception) -> bool:
    """True when the error says that the disk, or this user's share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in (28, 122)
    return isinstance(error, sqlite3.OperationalError) and 'full' in str(error)


def _writer(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = _connection(path, 'rw')
    try:
        for pragma in (
            'journal_mode=WAL',
            'synchronous=FULL',
            'secure_delete=ON',
            f'wal_autocheckpoint={LOG_PAGES}',
            f'journal_size_limit={LOG_BYTES}',
        ):
            connection.execute(f'PRAGMA {pragma}')
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f'{path.absolute().as_uri()}?{mode if "=" in mode else f"mode={mode}"}',
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute(f'PRAGMA cache_size=-{CACHE_KIB}')
    connection.execute('PRAGMA temp_store=MEMORY')
    return connection


def _current(connection: sqlite3.Connection, path: Path, is_doubted: bool) -> str:
    """Brings the tables to the current version; returns what had to be done."""
    try:
        version = _checked_version(connection, path)
        if version == 0:
            schema.make_tables(connection)
            return ''
        if is_doubted or _value(connection, 'open') == '1':
            _check_quickly(connection)
        if version == schema.VERSION:
            return ''
        backup = path.with_name(f'{path.name}{BACKUP}{version}')
        _copy(connection, backup)
        schema.migrate(connection, version)
    except BaseException:
        connection.close()
        raise
    return f'{path} was of version {version}: a copy is kept as {backup}'


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    version = schema.version_of(connection)
    if version > schema.VERSION:
        raise StoreTooNew(
            f'{path} is of version {version}',
            f'this package knows versions up to {schema.VERSION}',
            'Update penguin_ros, or take another folder; nothing was changed',
        )
    tables = connection.execute('SELECT count(*) FROM sqlite_master').fetchone()[0]
    if version == 0 and tables:
        raise StoreError(
            f'{path} is not the database of a memory',
            'it holds tables of something else',
            'Take another folder; nothing was changed',
        )
    return version


def _value(connection: sqlite3.Connection, name: str) -> str:
    row = connection.execute('SELECT value FROM fact WHERE name = ?', (name,)).fetchone()
    return str(row[0]) if row else ''


def _check_quickly(connection: sqlite3.Connection) -> None:
    verdict = connection.execute('PRAGMA quick_check(1)').fetchone()[0]
    if verdict != 'ok':
        raise sqlite3.DatabaseError(f'malformed: {verdict}')


def _copy(connection: sqlite3.Connection, backup: Path) -> None:
    backup.unlink(missing_ok=True)
    os.close(os.open(backup, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(backup)) as target:
        connection.backup(target)


def _put_aside(path: Path) -> Path:
    """Renames a damaged database and what lies beside it; returns its new name."""
    stamp = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())
    aside = path.with_name(f'{path.name}{DAMAGED}{stamp}')
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f'{path.name}{DAMAGED}{stamp}-{number}')
    for suffix in ('-wal', '-shm', ''):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside


def open_reader(folder: Path) -> sqlite3.Connection:
    """Opens the database for reading, while another process may write to it. StoreError when there
    is none, or it cannot be read.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise StoreError(
            f'there is no memory in {folder}',
            f'it holds no {DATABASE}',
            'Name the folder that a memory node or penguin index wrote',
        )
    try:
        connection = _reader(path)
        version = _checked_version(connection, path)
        connection.execute('SELECT count(*) FROM fact').fetchone()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise damaged(folder, error) from error
        raise StoreError(f'{path} cannot be read', str(error), f'ls -l {path}') from error
    if version < schema.VERSION:
        connection.close()
        raise StoreError(
            f'{path} is of the older version {version}',
            'only a writer may bring it to the current one',
            f'Type: penguin memory check --store {shlex.quote(str(folder))}',
        )
    return connection


def damaged(folder: Path, error: Exception) -> StoreDamaged:
    """Returns the error for a database that turned out to be damaged."""
    return StoreDamaged(
        f'{folder / DATABASE} is damaged',
        str(error),
        f'Type: penguin memory check --mend --store {shlex.quote(str(folder))}',
    )


def _reader(path: Path) -> sqlite3.Connection:
    """A connection that needs no right to write: SQLite wants to make files beside a database with
    a log, unless it is told that nobody writes to it.
    """
    log = path.with_name(path.name + '-wal')
    is_still = not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size)
    return _connection(path, 'mode=ro&immutable=1' if is_still else 'mode=ro')
