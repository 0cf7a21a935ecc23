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
    """When a recording begins and how long it is, its last image included; `error` when it cannot
    be opened.
    """

    origin_ns: int = 0
    duration_ns: int = 0
    error: str = ''


@dataclass(frozen=True)
class Span:
    """Clips `first` to `first + count - 1` of a recording. `done`: from when to when captions are
    that were written before; which clips they are of is seen from the frames.
    """

    place: RecordingPlace
    origin_ns: int
    first: int
    count: int
    done: tuple[tuple[int, int], ...] = ()


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
    """What came of a span; `known` of its clips were captioned before. `error` when its recording
    could not be read to the end of the span, and `notes` are sentences about what was left out of
    it.
    """

    captions: tuple[ClipCaption, ...] = ()
    known: int = 0
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
    gets a moment in the middle of a clip, the last of which ends with the recording.
    """
    total = -(-facts.duration_ns // clip_ns)

    def is_clip_done(number: int) -> bool:
        begin_ns = number * clip_ns
        end_ns = min(begin_ns + clip_ns, facts.duration_ns)
        return is_done(facts.origin_ns + (begin_ns + end_ns) // 2)

    first = 0
    while first < total:
        if is_clip_done(first):
            first += 1
            continue
        count = 1
        while count < longest and first + count < total and not is_clip_done(first + count):
            count += 1
        yield Span(place, facts.origin_ns, first, count)
        first += count
