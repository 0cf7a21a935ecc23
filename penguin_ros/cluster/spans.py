# SPDX-License-Identifier: Apache-2.0
"""Pieces of recordings, and what comes back from captioning them, as values that travel between
machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

SPAN_CLIPS = 8
"""Clips that one captioner gets at a time: what is computed again when it dies, at most."""


@dataclass(frozen=True)
class RecordingPlace:
    """Where a recording lies, at the same path on every machine, and what it is called: its `name`,
    and its `topic` in the index; `image_topic` chooses one in a bag that has several.
    """

    path: str
    name: str
    topic: str
    image_topic: str = ''


@dataclass(frozen=True)
class RecordingFacts:
    """When a recording begins and how long it is; `error` when it cannot be opened."""

    origin_ns: int = 0
    duration_ns: int = 0
    error: str = ''


@dataclass(frozen=True)
class Span:
    """Clips `first` to `first + count - 1` of a recording."""

    place: RecordingPlace
    origin_ns: int
    first: int
    count: int


@dataclass(frozen=True)
class ClipCaption:
    """What was said of one clip; `error` instead, when it could not be captioned. `picture` is a
    JPEG of the frame of `picture_ns`, where pictures are wanted.
    """

    begin_ns: int
    end_ns: int
    text: str = ''
    evidence: dict[str, Any] = field(default_factory=dict)
    picture: bytes = b''
    picture_ns: int = 0
    error: str = ''


@dataclass(frozen=True)
class SpanCaptions:
    """What came of a span; `error` when its recording could not be read to the end of the span, and
    `notes` are sentences about what was left out of it.
    """

    captions: tuple[ClipCaption, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ''


def missing_spans(
    place: RecordingPlace,
    facts: RecordingFacts,
    clip_ns: int,
    is_done: Callable[[int], bool],
    longest: int = SPAN_CLIPS,
) -> Iterator[Span]:
    """Yields the spans whose clips are not done yet, of at most `longest` clips each; `is_done`
    gets a moment in the middle of a clip.
    """
    total = -(-facts.duration_ns // clip_ns)
    first = 0
    while first < total:
        if is_done(facts.origin_ns + first * clip_ns + clip_ns // 2):
            first += 1
            continue
        count = 1
        while (
            count < longest
            and first + count < total
            and not is_done(facts.origin_ns + (first + count) * clip_ns + clip_ns // 2)
        ):
            count += 1
        yield Span(place, facts.origin_ns, first, count)
        first += count
