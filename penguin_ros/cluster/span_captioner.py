# SPDX-License-Identifier: Apache-2.0
"""Captions spans of recordings with an engine of its own, in a process of the cluster.

What is wrong with a recording comes back as a value: it must cost that recording only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penguin_ros.cluster.spans import (
    ClipCaption,
    RecordingFacts,
    RecordingPlace,
    Span,
    SpanCaptions,
)
from penguin_ros.config import PenguinConfig
from penguin_ros.evaluation.offline import OfflineRunner, clip_thinner, cut_clips
from penguin_ros.evaluation.recording_index import evidence_of, jpeg_of, shown_frame
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.media.convert import reduced
from penguin_ros.media.recordings import open_recording
from penguin_ros.request import Answer

if TYPE_CHECKING:
    from penguin_ros.media.recording import Recording


class ClipRunner(Protocol):
    """What captions a clip."""

    @property
    def failure(self) -> Exception | None:
        """Why this process captions nothing more; None while it does."""

    def caption(self, clip: Sequence[Frame]) -> Answer:
        """Blocks until the caption is complete."""


class EngineLost(Exception):
    """The engine of this process is gone, and cannot come back in it: the recording is not to
    blame.
    """


class SpanCaptioner:
    """One engine, and one recording at a time, which stays open: a span that follows the one before
    is read on from there. `runner`: instead of an engine, in tests.
    """

    def __init__(
        self, config: PenguinConfig, has_pictures: bool, runner: ClipRunner | None = None
    ) -> None:
        self._config = config
        self._has_pictures = has_pictures
        self._engine: OfflineRunner | None = None
        self._runner = runner
        self._recording: tuple[RecordingPlace, Recording] | None = None

    def describe(self, place: RecordingPlace) -> RecordingFacts:
        """Opens a recording and returns how long it is."""
        try:
            recording = open_recording(Path(place.path), place.image_topic)
            length_ns = recording.length_ns()
        except Exception as error:  # whatever a damaged file brings up costs this file only
            return RecordingFacts(error=_in_words(error))
        fault = '' if length_ns > 0 else 'it cannot be told how long it is'
        return RecordingFacts(recording.origin_ns, length_ns, fault)

    def caption(self, span: Span) -> SpanCaptions:
        """Captions the clips of a span. EngineLost where no engine of this process can."""
        captions: list[ClipCaption] = []
        notes: tuple[str, ...] = ()
        known = 0
        runner = self._opened()
        try:
            recording = self._opened_recording(span.place)
            for clip in self._clips(recording, span):
                if self._is_known(span, clip):
                    known += 1
                    continue
                captions.append(self._captioned(clip, runner))
            notes = tuple(recording.account.lines())
        except EngineLost:
            raise
        except Exception as error:
            self._recording = None
            return SpanCaptions(tuple(captions), known, notes, _in_words(error))
        return SpanCaptions(tuple(captions), known, notes)

    def close(self) -> None:
        """Frees the engine."""
        if self._engine is not None:
            self._engine.__exit__(None, None, None)
            self._engine = self._runner = None

    def _opened(self) -> ClipRunner:
        """Returns the engine, which is loaded for the first span: the cluster learns of a failure
        then, from the call that needed it.
        """
        if self._runner is None:
            self._runner = self._engine = OfflineRunner(self._config).__enter__()
        return self._runner

    def _opened_recording(self, place: RecordingPlace) -> Recording:
        if self._recording is None or self._recording[0] != place:
            self._recording = place, open_recording(Path(place.path), place.image_topic)
        return self._recording[1]

    def _clips(self, recording: Recording, span: Span) -> Iterator[list[Frame]]:
        config = self._config
        clip_ns = round(config.clip.seconds * NANOSECONDS)
        start_ns, end_ns = span.first * clip_ns, (span.first + span.count) * clip_ns
        frames = recording.frames(config.clip.fps, start_ns, end_ns)
        small = (
            (time_ns, reduced(image, config.buffer.max_frame_pixels)) for time_ns, image in frames
        )
        limits = config.clip.seconds, start_ns / NANOSECONDS, end_ns / NANOSECONDS
        for _, clip in cut_clips(small, *limits, span.origin_ns, clip_thinner(config)):
            yield clip

    def _is_known(self, span: Span, clip: list[Frame]) -> bool:
        """Tells whether a caption is written that covers the middle of a clip; of a clip of one
        frame, whether one of a single frame is, which may have been another when it was read from
        another place on.
        """
        begin_ns, end_ns = clip[0].stamp_ns, clip[-1].stamp_ns
        moment_ns = (begin_ns + end_ns) // 2
        clip_ns = round(self._config.clip.seconds * NANOSECONDS)

        def number(time_ns: int) -> int:
            return (time_ns - span.origin_ns) // clip_ns

        return any(
            begin <= moment_ns <= end
            or (begin == end and begin_ns == end_ns and number(begin) == number(begin_ns))
            for begin, end in span.done
        )

    def _captioned(self, clip: list[Frame], runner: ClipRunner) -> ClipCaption:
        begin_ns, end_ns = clip[0].stamp_ns, clip[-1].stamp_ns
        answer = runner.caption(clip)
        if runner.failure is not None:
            raise EngineLost(str(runner.failure))
        if answer.error is not None:
            return ClipCaption(begin_ns, end_ns, error=str(answer.error))
        shown = shown_frame(answer, clip)
        picture = jpeg_of(shown) if self._has_pictures else b''
        return ClipCaption(
            begin_ns,
            end_ns,
            answer.text,
            evidence_of(answer),
            picture,
            shown.stamp_ns if picture else 0,
        )


def _in_words(error: Exception) -> str:
    return str(error) or repr(error)
