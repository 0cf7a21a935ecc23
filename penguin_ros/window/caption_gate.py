# SPDX-License-Identifier: Apache-2.0
"""Tells whether anything has changed since the last caption of a camera.

The measure is that of the frame types: the share of the image's patches that are similar. Every
frame of the window since the newest one that the caption saw is compared with that one, so that
neither a slow change nor a short one is missed. Everything runs on the worker thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.preprocessing.frame_types import FrameSignature, signature_similarity
from penguin_ros.request import Answer


@dataclass(eq=False)
class GatedCaption:
    """A caption as the gate remembers it: `reference` is the newest frame that it saw, with stamp
    `end_ns`; `answer` is None until it ends.
    """

    question: str
    end_ns: int
    reference: FrameSignature
    is_changed: bool = False
    answer: Answer | None = None


class CaptionGate:
    """Compares the frames of one camera with those that its captions saw."""

    def __init__(self) -> None:
        self._newest: tuple[int, FrameSignature] | None = None
        self._last: GatedCaption | None = None
        self._pending: GatedCaption | None = None
        self._sent_ns: int | None = None
        self.unchanged_captions = 0
        self.repeated_captions = 0

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest frame looked at."""
        return self._newest[0] if self._newest is not None else None

    def look(self, stamp_ns: int, frame: FrameSignature, min_similarity: float) -> None:
        """Compares the next frame with what the captions saw; stamps rise."""
        self._newest = stamp_ns, frame
        for caption in (self._last, self._pending):
            if caption is not None and stamp_ns > caption.end_ns and not caption.is_changed:
                caption.is_changed = signature_similarity(caption.reference, frame) < min_similarity

    def begin(self, question: str, end_ns: int) -> None:
        """Notes that a caption is made from the frames up to `end_ns`; unless that is the newest
        frame looked at, the caption cannot be repeated.
        """
        self._pending = None
        if self._newest is not None and self._newest[0] == end_ns:
            self._pending = GatedCaption(question, end_ns, self._newest[1])

    def end(self, answer: Answer | None) -> None:
        """Notes the answer of the caption that was begun; None: it failed, and the next one must be
        made.
        """
        pending, self._pending = self._pending, None
        if answer is None:
            return
        self._last = pending
        if pending is not None:
            pending.answer = answer

    def unchanged(self, question: str) -> GatedCaption | None:
        """Returns the last caption, as long as nothing has changed since and the same is asked."""
        last = self._last
        if last is None or last.is_changed or last.question != question:
            return None
        return last

    def note_sent(self, steady_ns: int) -> None:
        """Notes that a caption is published."""
        self._sent_ns = steady_ns

    def is_heartbeat_due(self, steady_ns: int, period_ns: int, heartbeat_ns: int) -> bool:
        """Returns whether silence would last longer than `heartbeat_ns` if nothing were published
        before the next caption's turn.
        """
        return self._sent_ns is None or steady_ns + period_ns - self._sent_ns > heartbeat_ns

    def forget(self) -> None:
        """Forgets all captions and frames: the next caption must be made."""
        self._newest = None
        self._last = None
        self._pending = None
