# SPDX-License-Identifier: Apache-2.0
"""Whether anything has changed since the last caption of a camera. Knows how frames compare, not
what they show.

The measure is that of the frame types: the share of the picture's patches that are alike. Every
frame of the window since the newest one that the caption told of is compared with that one, so that
neither a slow change nor a short one is missed. All on the worker thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.preprocessing.frame_types import FrameSignature, signature_similarity
from penguin_ros.request import Answer


@dataclass(eq=False)
class Description:
    """What a caption tells, or will tell: `reference` is its newest frame, of stamp `end_ns`;
    `answer` is None until it ends.
    """

    question: str
    end_ns: int
    reference: FrameSignature
    is_changed: bool = False
    answer: Answer | None = None


class CaptionGate:
    """Of one camera."""

    def __init__(self) -> None:
        self._newest: tuple[int, FrameSignature] | None = None
        self._captioned: Description | None = None
        self._pending: Description | None = None
        self._sent_ns: int | None = None
        self.unchanged_captions = self.repeated_captions = 0

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest frame looked at."""
        return self._newest[0] if self._newest is not None else None

    def look(self, stamp_ns: int, frame: FrameSignature, least_similarity: float) -> None:
        """Compares the next frame; stamps rise."""
        self._newest = stamp_ns, frame
        for description in (self._captioned, self._pending):
            if (
                description is not None
                and stamp_ns > description.end_ns
                and not description.is_changed
            ):
                description.is_changed = (
                    signature_similarity(description.reference, frame) < least_similarity
                )

    def begin(self, question: str, end_ns: int) -> None:
        """A caption is made of the frames up to `end_ns`, which must be the newest one looked at;
        else it cannot be repeated.
        """
        newest, self._pending = self._newest, None
        if newest is not None and newest[0] == end_ns:
            self._pending = Description(question, end_ns, newest[1])

    def end(self, answer: Answer | None) -> None:
        """The caption that was begun is told; None: it failed, and the next one must be made."""
        pending, self._pending = self._pending, None
        if answer is None:
            return
        self._captioned = pending
        if pending is not None:
            pending.answer = answer

    def unchanged(self, question: str) -> Description | None:
        """What was told, as long as nothing has changed since and the same is asked."""
        captioned = self._captioned
        return (
            captioned
            if captioned is not None and not captioned.is_changed and captioned.question == question
            else None
        )

    def note_sent(self, steady_ns: int) -> None:
        """A caption went out."""
        self._sent_ns = steady_ns

    def is_heartbeat_due(self, steady_ns: int, period_ns: int, heartbeat_ns: int) -> bool:
        """Whether silence would last longer than `heartbeat_ns` if nothing went out before the next
        caption's turn.
        """
        return self._sent_ns is None or steady_ns + period_ns - self._sent_ns > heartbeat_ns

    def forget(self) -> None:
        """Nothing is known any more: the next caption must be made."""
        self._newest = self._captioned = self._pending = None
