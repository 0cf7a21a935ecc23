# SPDX-License-Identifier: Apache-2.0
"""Recordings into a memory: each clip is captioned and remembered exactly once, however often that
is interrupted and begun again.

A clip is done when the store has a caption of the same recording and topic that covers its middle.
Recordings whose stamps are times of day belong to the session of those; one with simulated time has
a session of its own.
"""

from __future__ import annotations

import bisect
import dataclasses
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image as PillowImage

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import InvalidRequest, LibraryUnusable
from penguin_ros.evaluation.offline import OfflineRunner, clip_thinner, cut_clips
from penguin_ros.frame import NANOSECONDS, Frame, FrameType
from penguin_ros.media.convert import reduced
from penguin_ros.media.recording import Recording
from penguin_ros.memory.embedder import included_embedder
from penguin_ros.memory.entry import Kind, NewEntry
from penguin_ros.memory.export import hits_of
from penguin_ros.memory.filter import MAX_LIMIT, Filter
from penguin_ros.memory.retention import TIME_OF_DAY_NS
from penguin_ros.memory.store import Store
from penguin_ros.request import Answer

PICTURE_PIXELS = 448
JPEG_QUALITY = 80

Progress = Callable[[float, float, float], None]
"""Called with the seconds of the recording that are done, all of them, and the seconds left."""


@dataclass
class Indexed:
    """What became of the clips of a recording."""

    captioned: int = 0
    known: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Source:
    """What a recording is called in the memory, instead of a node and a camera, and whether
    pictures of it are stored.
    """

    name: str
    topic: str
    has_pictures: bool


class Done:
    """The intervals of a recording that are captioned already."""

    def __init__(self, store: Store, source: Source, session: int) -> None:
        asked = Filter(node=source.name, camera=source.topic, session=session, limit=MAX_LIMIT)
        try:
            entries = [hit.entry for hit in hits_of(store, asked)]
        except InvalidRequest:  # nothing is stored of it yet
            entries = []
        self._spans = sorted((entry.start_ns, entry.end_ns) for entry in entries)

    def covers(self, moment_ns: int) -> bool:
        """Returns whether a caption covers a moment."""
        place = bisect.bisect_right(self._spans, (moment_ns, 2**63)) - 1
        return place >= 0 and self._spans[place][1] >= moment_ns

    def within(self, begin_ns: int, end_ns: int) -> tuple[tuple[int, int], ...]:
        """Returns the intervals that may have a part there."""
        return spans_within(self._spans, begin_ns, end_ns)

    def note(self, begin_ns: int, end_ns: int) -> None:
        """Notes a caption that was stored meanwhile."""
        bisect.insort(self._spans, (begin_ns, end_ns))

    def until(self, origin_ns: int, clip_ns: int) -> int:
        """Returns how many clips from the start are done without a gap."""
        count = 0
        while self.covers(origin_ns + count * clip_ns + clip_ns // 2):
            count += 1
        return count


def spans_within(
    spans: Sequence[tuple[int, int]], begin_ns: int, end_ns: int
) -> tuple[tuple[int, int], ...]:
    """Returns those of sorted intervals that begin before `end_ns`, from the last one on that
    begins before `begin_ns`, since that may reach so far.
    """
    first = max(0, bisect.bisect_left(spans, (begin_ns,)) - 1)
    return tuple(spans[first : bisect.bisect_left(spans, (end_ns,))])


def index_recording(
    runner: OfflineRunner,
    config: PenguinConfig,
    store: Store,
    source: Source,
    recording: Recording,
    progress: Progress,
) -> Indexed:
    """Captions the clips of a recording that the store lacks."""
    session = session_for(store, source.name, recording.origin_ns)
    done, result = Done(store, source, session), Indexed()
    clip_ns = round(config.clip.seconds * NANOSECONDS)
    result.known = done.until(recording.origin_ns, clip_ns)
    start_s = result.known * config.clip.seconds
    total_s, begun = recording.duration_ns / NANOSECONDS, time.monotonic()
    for clip in _clips(recording, config, start_s):
        if done.covers((clip[0].stamp_ns + clip[-1].stamp_ns) // 2):
            result.known += 1
            continue
        answer = runner.caption(clip)
        if answer.error is None:
            store.add(_entry(answer, source, clip), is_patient=True, session=session)
        result.captioned += answer.error is None
        result.failed += answer.error is not None
        at_s = (clip[-1].stamp_ns - recording.origin_ns) / NANOSECONDS
        pace = (time.monotonic() - begun) / max(at_s - start_s, 1e-9)
        progress(at_s, total_s, max(0.0, total_s - at_s) * pace)
    store.flush()
    return result


def session_for(store: Store, name: str, origin_ns: int) -> int:
    """Returns the session in a memory of a recording that begins at `origin_ns`."""
    newest = store.newest_ns()
    if origin_ns >= TIME_OF_DAY_NS and (newest is None or newest >= TIME_OF_DAY_NS):
        return store.session
    return store.session_named(name, 'the time of a recording')


def _clips(recording: Recording, config: PenguinConfig, start_s: float) -> Iterator[list[Frame]]:
    frames = recording.frames(config.clip.fps, round(start_s * NANOSECONDS))
    small = ((time_ns, reduced(image, config.buffer.max_frame_pixels)) for time_ns, image in frames)
    limits = config.clip.seconds, start_s, float('inf')
    for _, clip in cut_clips(small, *limits, recording.origin_ns, clip_thinner(config)):
        yield clip


def _entry(answer: Answer, source: Source, clip: Sequence[Frame]) -> NewEntry:
    begin, end, evidence = clip[0].stamp_ns, clip[-1].stamp_ns, evidence_of(answer)
    entry = NewEntry(Kind.CAPTION, source.name, source.topic, begin, end, answer.text, '', evidence)
    if not source.has_pictures:
        return entry
    shown = shown_frame(answer, clip)
    return dataclasses.replace(entry, picture=jpeg_of(shown), picture_ns=shown.stamp_ns)


def shown_frame(answer: Answer, clip: Sequence[Frame]) -> Frame:
    """Returns the newest key frame of a clip, which stands for it."""
    keys = [frame.stamp_ns for frame in answer.evidence.frames if frame.type == FrameType.KEY]
    return next((frame for frame in clip if keys and frame.stamp_ns == keys[-1]), clip[-1])


def evidence_of(answer: Answer) -> dict[str, Any]:
    """Returns what is kept of the evidence of a caption."""
    evidence = answer.evidence
    return {
        'frames': [
            {'stamp_ns': frame.stamp_ns, 'type': frame.type.name.lower()}
            for frame in evidence.frames
        ],
        'model_name': evidence.model_name,
        'model_digest': evidence.model_digest,
        'backend': evidence.backend,
        'precision': evidence.precision,
    }


def jpeg_of(frame: Frame) -> bytes:
    """Returns a small picture of a frame."""
    image = PillowImage.fromarray(frame.image)
    image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    stream = io.BytesIO()
    image.save(stream, 'JPEG', quality=JPEG_QUALITY)
    return stream.getvalue()


def use_meaning(store: Store, tell: Callable[[str], None]) -> None:
    """Has a memory find by meaning too, or tells in a sentence why it does not."""
    try:
        store.use_embedder(included_embedder())
    except LibraryUnusable as error:
        tell(f'to be found by words only: {error.why}')
