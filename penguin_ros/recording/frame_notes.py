# SPDX-License-Identifier: Apache-2.0
"""Annotations of recorded frames. A caption comes seconds after the frames that it is about: each
frame waits for the first caption that covers it, so that a recording shows the caption on those
frames; a frame that none covers in time shows the newest one from before it, with its age.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from penguin_ros.frame import NANOSECONDS
from penguin_ros.overlay.annotations import image_annotations
from penguin_ros.overlay.arrangement import Arrangement, TextStyle, arranged
from penguin_ros.overlay.board import Board, CaptionShown, RuleShown
from penguin_ros.overlay.lines import Overlay, overlay_of
from penguin_ros.recording.definitions import ANNOTATIONS, Definitions
from penguin_ros.recording.frame_header import FrameHeader

KEPT = 16
"""Captions that are kept for frames that come late."""
MAX_WAITING = 2000
"""Frames of one camera that wait; the oldest get their annotations early."""
MAX_AGE_NS = 10 * NANOSECONDS


@dataclass(frozen=True)
class CaptionSpan:
    """A caption and the stamps of the oldest and newest frame that it is about."""

    caption: CaptionShown
    start_ns: int


@dataclass(frozen=True)
class _Waiting:
    frame: FrameHeader
    log_ns: int
    rules: tuple[RuleShown, ...]


@dataclass
class _Camera:
    rules: tuple[RuleShown, ...] = ()
    spans: deque[CaptionSpan] = field(default_factory=lambda: deque(maxlen=KEPT))
    waiting: deque[_Waiting] = field(default_factory=deque)
    known: tuple[Overlay, Arrangement] | None = None


Emit = Callable[[str, int, bytes], None]
"""Gets the camera, the log time of the frame and the serialised annotations."""


class FrameNotes:
    """Belongs to one thread; `emit` is called for each frame once, in the order of a camera's
    frames as far as captions come in that order.
    """

    def __init__(
        self, definitions: Definitions, style: TextStyle, wait_ns: int, emit: Emit
    ) -> None:
        self._definitions = definitions
        self._messages = definitions.foxglove()
        self._style = style
        self._wait_ns = wait_ns
        self._emit = emit
        self._cameras: dict[str, _Camera] = {}

    def take_frame(self, name: str, frame: FrameHeader, log_ns: int) -> None:
        """Notes a frame that was recorded."""
        camera = self._camera(name)
        camera.waiting.append(_Waiting(frame, log_ns, camera.rules))
        due_ns = frame.stamp_ns - self._wait_ns
        while camera.waiting and (
            camera.waiting[0].frame.stamp_ns <= due_ns or len(camera.waiting) > MAX_WAITING
        ):
            self._settle(name, camera, camera.waiting.popleft())

    def take_caption(self, name: str, span: CaptionSpan) -> None:
        """Notes a caption; the frames it covers that still wait have it now."""
        camera = self._camera(name)
        camera.spans.append(span)
        waiting, camera.waiting = camera.waiting, deque()
        for each in waiting:
            if span.start_ns <= each.frame.stamp_ns <= span.caption.end_ns:
                self._settle(name, camera, each)
            else:
                camera.waiting.append(each)

    def take_rules(self, name: str, rules: tuple[RuleShown, ...]) -> None:
        """Notes how rules are doing from now on."""
        self._camera(name).rules = rules

    def flush(self) -> None:
        """Gives every frame that waits what is known now."""
        for name, camera in self._cameras.items():
            while camera.waiting:
                self._settle(name, camera, camera.waiting.popleft())

    def _camera(self, name: str) -> _Camera:
        return self._cameras.setdefault(name, _Camera())

    def _settle(self, name: str, camera: _Camera, waiting: _Waiting) -> None:
        frame = waiting.frame
        board = Board(_caption_at(camera.spans, frame.stamp_ns), waiting.rules)
        overlay = overlay_of(board, frame.stamp_ns, MAX_AGE_NS)
        known, size = camera.known, (frame.width, frame.height)
        if known is None or known[0] != overlay or known[1].size != size:
            known = camera.known = overlay, arranged(overlay, *size, self._style)
        stamp = self._messages.Time(*divmod(frame.stamp_ns, NANOSECONDS))
        message: Any = image_annotations(self._messages, known[1], stamp)
        content = self._definitions.store.serialize_cdr(message, ANNOTATIONS)
        self._emit(name, waiting.log_ns, bytes(content))


def _caption_at(spans: deque[CaptionSpan], stamp_ns: int) -> CaptionShown | None:
    """Returns the first caption about a frame, as of that frame; else the newest one of before."""
    for span in spans:
        if span.start_ns <= stamp_ns <= span.caption.end_ns:
            caption = span.caption
            return CaptionShown(caption.text, stamp_ns, caption.is_cut, caption.error)
    before = [span.caption for span in spans if span.caption.end_ns < stamp_ns]
    return max(before, key=lambda caption: caption.end_ns, default=None)
