# SPDX-License-Identifier: Apache-2.0
"""Forgetting so that nothing can be read any more: rows, index, vectors and pictures, the log that
SQLite writes ahead, free pages, and copies that a migration kept.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.memory.database import BACKUP, DAMAGED, DATABASE


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten. `remarks` say what could not be cleaned, and what to do; empty when no
    trace is left in the folder.
    """

    entries: int
    pictures: int
    remarks: tuple[str, ...]


def clean(connection: sqlite3.Connection, folder: Path) -> tuple[str, ...]:
    """Rewrites the index of words and the database without what was removed before, empties the
    log, and removes copies; returns remarks.
    """
    remarks = []
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")
    try:
        connection.execute('PRAGMA temp_store=FILE')
        connection.execute('VACUUM')
    except sqlite3.OperationalError as error:
        remarks.append(
            f'free pages of the database may still hold pieces: it could not be rewritten ({error})'
            '; free space on that disk, then forget again'
        )
    finally:
        connection.execute('PRAGMA temp_store=MEMORY')
    is_busy = connection.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()[0]
    if is_busy:
        remarks.append(
            'the log of the database could not be emptied while another process reads it: close '
            'that one, then forget again'
        )
    for backup in folder.glob(f'{DATABASE}{BACKUP}*'):
        backup.unlink()
    for damaged in sorted(folder.glob(f'{DATABASE}{DAMAGED}*')):
        remarks.append(f'{damaged} was put aside since it is damaged, and was not searched: rm it')
    return tuple(remarks)
