# SPDX-License-Identifier: Apache-2.0
"""The tables of a store, and how those of an older version become the current ones.

`entry` is narrow, so that all of it is read quickly when a store is opened; what is long lies in
`content`, which the index of words refers to, and in `vector`.
"""

from __future__ import annotations

import sqlite3

TABLES = """
CREATE TABLE name(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE session(
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE entry(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    session INTEGER NOT NULL,
    node INTEGER NOT NULL,
    camera INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    is_pinned INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    identity INTEGER NOT NULL,
    frame INTEGER,
    x REAL, y REAL, z REAL, qx REAL, qy REAL, qz REAL, qw REAL,
    pose_ns INTEGER,
    digest BLOB,
    picture_ns INTEGER
);
CREATE INDEX entry_end ON entry(end_ns);
CREATE TABLE content(
    id INTEGER PRIMARY KEY, text TEXT NOT NULL, question TEXT NOT NULL, evidence BLOB NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5(
    text, question, content='content', content_rowid='id',
    tokenize='porter unicode61 remove_diacritics 2', columnsize=0
);
CREATE TRIGGER content_added AFTER INSERT ON content BEGIN
    INSERT INTO words(rowid, text, question) VALUES (new.id, new.text, new.question);
END;
CREATE TRIGGER content_removed AFTER DELETE ON content BEGIN
    INSERT INTO words(words, rowid, text, question)
    VALUES ('delete', old.id, old.text, old.question);
END;
CREATE TABLE vector(id INTEGER PRIMARY KEY, embedder INTEGER NOT NULL, vector BLOB NOT NULL);
CREATE TABLE picture(
    digest BLOB PRIMARY KEY, file TEXT NOT NULL, bytes INTEGER NOT NULL, uses INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE fact(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

VERSION = 1

MIGRATIONS: dict[int, str] = {}
"""What makes version n + 1 of version n."""


def version_of(connection: sqlite3.Connection) -> int:
    """Returns the version of the tables; 0 where there are none yet."""
    return int(connection.execute('PRAGMA user_version').fetchone()[0])


def make_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables of the current version in an empty database, all or none."""
    _run(connection, TABLES, VERSION)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Brings the tables of an older version to the current one, each step all or none."""
    for step in range(version, VERSION):
        _run(connection, MIGRATIONS[step], step + 1)


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    connection.executescript(f'BEGIN IMMEDIATE;{script};PRAGMA user_version={version};COMMIT;')
