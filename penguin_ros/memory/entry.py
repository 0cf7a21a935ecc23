# SPDX-License-Identifier: Apache-2.0
"""What is remembered, as values: entries before and after they are stored, and pages of those that
were found.

Stamps are integer nanoseconds of message headers. They are comparable within one session only, a
stretch of time in which the clock was not set back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    """What an entry is; the numbers are those of penguin_msgs/MemoryEntry."""

    CAPTION = 0
    ANSWER = 1
    EVENT = 2


@dataclass(frozen=True)
class Pose:
    """Where the robot was: a position in metres and a unit quaternion, in a named coordinate frame.

    `stamp_ns` is the time for which the transform was valid.
    """

    frame: str
    x: float
    y: float
    z: float = 0.0
    qx: float = 0.0
    qy: float = 0.0
    qz: float = 0.0
    qw: float = 1.0
    stamp_ns: int = 0


@dataclass(frozen=True)
class NewEntry:
    """Something to remember.

    `node` and `camera` are names; `start_ns` and `end_ns` are the stamps of the oldest and the
    newest frame behind it. `text` is the caption, the answer or the condition of an event;
    `question` the question of an answer or the id of an event's rule. `evidence` is whatever JSON
    can hold. `picture` is a file as it is, JPEG usually, of the frame with the stamp `picture_ns`.

    `key` says what of its kind it is within its node: the id of an answer, say. An entry that comes
    twice with the same key is stored once; without a key everything else must be equal.
    """

    kind: Kind
    node: str
    camera: str
    start_ns: int
    end_ns: int
    text: str
    question: str = ''
    evidence: Mapping[str, Any] = field(default_factory=dict)
    pose: Pose | None = None
    picture: bytes = b''
    picture_ns: int = 0
    key: str = ''
    is_pinned: bool = False


@dataclass(frozen=True)
class Entry:
    """Something that is remembered; see NewEntry. `id` is unique in the store and never used again;
    `digest` names its picture, '' without one.
    """

    id: int
    session: int
    kind: Kind
    node: str
    camera: str
    start_ns: int
    end_ns: int
    text: str
    question: str
    evidence: Mapping[str, Any]
    pose: Pose | None
    digest: str
    picture_ns: int
    is_pinned: bool

    @property
    def has_picture(self) -> bool:
        """True when a picture was stored with it."""
        return bool(self.digest)


@dataclass(frozen=True)
class Hit:
    """An entry that was found. `score` orders the hits of one search and says nothing beyond it;
    `matches` says what it was found by: words, meaning, time, place, camera, node, kind.
    """

    entry: Entry
    score: float
    matches: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Hits, best or newest first, and the token of the next page, '' when there is none."""

    hits: tuple[Hit, ...]
    next_page: str = ''
