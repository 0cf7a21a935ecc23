# SPDX-License-Identifier: Apache-2.0
"""Pictures of a store as files: one for each content, named by its digest, in a folder for the day
of its stamp.

A file is there before the entry that refers to it is committed, and leaves after the last such
entry; what a crash leaves in between is swept when the store is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from penguin_ros.frame import NANOSECONDS

FOLDER = 'pictures'
DIGEST_BYTES = 16
NAME = re.compile(r'\d{4,}-\d\d-\d\d/[0-9a-f]{32}\.(jpg|png|bin)')
TEMPORARY = '.part'
ENDINGS = ((b'\xff\xd8\xff', '.jpg'), (b'\x89PNG', '.png'))


@dataclass(frozen=True)
class StoredPicture:
    """A picture's digest, and its file below the folder of pictures."""

    digest: bytes
    file: str


def day_of(stamp_ns: int) -> str:
    """Returns the day of a stamp in UTC, as YYYY-MM-DD."""
    start = datetime(1970, 1, 1, tzinfo=timezone.utc)
    try:
        return (start + timedelta(seconds=stamp_ns // NANOSECONDS)).strftime('%Y-%m-%d')
    except OverflowError:
        return '9999-12-31'


class Pictures:
    """The picture files of one store; the writer's thread alone changes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        self.count = 0
        self.bytes = 0

    def count_all(self, connection: sqlite3.Connection) -> None:
        """Counts the pictures that the database knows, and their bytes."""
        query = 'SELECT count(*), ifnull(sum(bytes), 0) FROM picture'
        self.count, self.bytes = connection.execute(query).fetchone()

    def path(self, file: str) -> Path:
        """Returns where a file of the database lies."""
        return self.folder / file

    def read(self, file: str) -> bytes | None:
        """Returns a picture; None when it is missing or not what was stored."""
        with suppress(OSError):
            content = self.path(file).read_bytes()
            if digest_of(content).hex() == Path(file).stem:
                return content
        return None

    def add(self, connection: sqlite3.Connection, content: bytes, stamp_ns: int) -> bytes:
        """Stores a picture, or counts one more use of it, within the connection's transaction.
        Returns its digest; OSError when the file cannot be written.
        """
        digest = digest_of(content)
        row = connection.execute('SELECT file FROM picture WHERE digest = ?', (digest,)).fetchone()
        file = row[0] if row else f'{day_of(stamp_ns)}/{digest.hex()}{_ending(content)}'
        path = self.path(file)
        if not path.exists():
            self._write(path, content)
        connection.execute(
            'INSERT INTO picture VALUES (?, ?, ?, 1) '
            'ON CONFLICT(digest) DO UPDATE SET uses = uses + 1',
            (digest, file, len(content)),
        )
        self.count += row is None
        self.bytes += 0 if row else len(content)
        return digest

    def _write(self, path: Path, content: bytes) -> None:
        for folder in (self.folder, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_name(path.name + TEMPORARY)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, 'wb') as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def release(self, connection: sqlite3.Connection, digests: Iterable[bytes]) -> list[str]:
        """Counts one use less for each digest given, within the connection's transaction. Returns
        the files to remove once that is committed.
        """
        files = []
        for digest in digests:
            connection.execute('UPDATE picture SET uses = uses - 1 WHERE digest = ?', (digest,))
            unused = 'FROM picture WHERE digest = ? AND uses <= 0'
            row = connection.execute(f'SELECT file, bytes {unused}', (digest,)).fetchone()
            if row:
                files.append(row[0])
                self.count -= 1
                self.bytes -= row[1]
                connection.execute(f'DELETE {unused}', (digest,))
        return files

    def remove(self, files: Iterable[str]) -> None:
        """Removes files, and folders of days that become empty."""
        days = set()
        for file in files:
            path = self.path(file)
            path.unlink(missing_ok=True)
            days.add(path.parent)
        for day in days:
            with suppress(OSError):
                day.rmdir()

    def sweep(self, connection: sqlite3.Connection) -> int:
        """Removes files that no entry refers to; returns how many."""
        known = {row[0] for row in connection.execute('SELECT file FROM picture')}
        strays = [file for file in self.files() if file not in known]
        self.remove(strays)
        return len(strays)

    def files(self) -> Iterator[str]:
        """Yields every file of a picture, whole or not."""
        for day in sorted(self.folder.glob('*-*-*')):
            for path in sorted(day.iterdir()):
                name = f'{day.name}/{path.name}'
                if NAME.fullmatch(name.removesuffix(TEMPORARY)):
                    yield name


def digest_of(content: bytes) -> bytes:
    """Returns what a picture is known by."""
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


def _ending(content: bytes) -> str:
    return next((ending for start, ending in ENDINGS if content.startswith(start)), '.bin')
