# SPDX-License-Identifier: Apache-2.0
"""New entries into the tables, within a transaction of the writer."""

from __future__ import annotations

import sqlite3
from typing import Any

from penguin_ros.memory.catalogue import Names
from penguin_ros.memory.entry import NewEntry
from penguin_ros.memory.pictures import Pictures
from penguin_ros.memory.rows import (
    ADD_ENTRY,
    MAX_TEXT,
    ROW_BYTES,
    identity,
    packed,
    pose_values,
    safe_text,
)

CatalogueRow = tuple[Any, ...]
"""The values of an entry in the order of catalogue.TYPES."""


class Inserter:
    """Adds entries to one database; call it on the writer's thread only."""

    def __init__(self, connection: sqlite3.Connection, names: Names, pictures: Pictures) -> None:
        self._connection = connection
        self._names = names
        self._pictures = pictures
        self.cut_texts = 0
        self.duplicates = 0
        self.pictures_left_out = 0
        self._new_names: list[tuple[int, str]] = []

    def committed(self) -> None:
        """The transaction was committed."""
        for number, name in self._new_names:
            self._names.add(number, name)
        self._new_names.clear()

    def rolled_back(self) -> None:
        """The transaction was rolled back."""
        self._new_names.clear()

    def add(self, entry: NewEntry, session: int, has_picture: bool) -> CatalogueRow | None:
        """Adds an entry, with its picture where wanted; returns None when it is stored already."""
        known = identity(entry, session)
        twice = 'SELECT 1 FROM entry WHERE end_ns = ? AND identity = ?'
        if self._connection.execute(twice, (entry.end_ns, known)).fetchone():
            self.duplicates += 1
            return None
        self.cut_texts += max(len(entry.text), len(entry.question)) > MAX_TEXT
        text, question = safe_text(entry.text), safe_text(entry.question)
        evidence = packed(entry.evidence)
        size = ROW_BYTES + len(text.encode()) + len(question.encode()) + len(evidence)
        digest = None
        if has_picture and entry.picture:
            digest = self._pictures.add(self._connection, entry.picture, entry.picture_ns)
        elif entry.picture:
            self.pictures_left_out += 1
        node, camera = self.number(safe_text(entry.node)), self.number(safe_text(entry.camera))
        pose = entry.pose
        frame = self.number(safe_text(pose.frame)) if pose else None
        values = (
            None, int(entry.kind), session, node, camera, entry.start_ns, entry.end_ns,
            entry.is_pinned, size, known, *pose_values(pose, frame), digest, entry.picture_ns,
        )  # fmt: skip
        number = self._connection.execute(ADD_ENTRY, values).lastrowid
        self._connection.execute(
            'INSERT INTO content VALUES (?, ?, ?, ?)', (number, text, question, evidence)
        )
        x, y = (pose.x, pose.y) if pose else (0.0, 0.0)
        return (
            number, entry.start_ns, entry.end_ns, size, x, y, -1 if frame is None else frame,
            session, node, camera, int(entry.kind), entry.is_pinned, digest is not None,
        )  # fmt: skip

    def number(self, name: str) -> int:
        """Returns the number of a name, a new one where it has none."""
        number = self._names.number(name)
        if number is None:
            self._connection.execute('INSERT OR IGNORE INTO name(text) VALUES (?)', (name,))
            query = 'SELECT id FROM name WHERE text = ?'
            number = int(self._connection.execute(query, (name,)).fetchone()[0])
            self._new_names.append((number, name))
        return number
