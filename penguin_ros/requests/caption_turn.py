# SPDX-License-Identifier: Apache-2.0
"""What distinguishes a caption from a question: the next one goes on where it ends, and it may not
be needed at all. No models.

`begin` belongs to the worker thread; `end` is called once, there or on the thread that gives up a
caption which is stuck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from penguin_ros.config import CaptionConfig
from penguin_ros.frame import NANOSECONDS, Clip
from penguin_ros.request import Answer
from penguin_ros.window.camera_window import CameraWindow
from penguin_ros.window.caption_gate import Description


@dataclass(eq=False)
class CaptionTurn:
    """One caption of a camera; `now_ns` gives camera time."""

    window: CameraWindow
    config: CaptionConfig
    question: str
    now_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    _clip: Clip | None = None
    _repeated: Description | None = None

    def begin(self, clip: Clip) -> bool:
        """Whether the model is to describe `clip`; False: nothing has changed since the last
        caption.
        """
        gate = self.window.gate
        self._clip, self._repeated = (
            clip,
            gate.unchanged(self.question) if self.config.gate else None,
        )
        if self._repeated is None:
            self.window.begin_caption(clip, self.question)
        return self._repeated is None

    def end(self, answer: Answer) -> Answer:
        """The caption as it goes to whoever asked; `answer` is what the model made, with nothing in
        it where it did not run.
        """
        gate, clip, steady_ns = self.window.gate, self._clip, self.steady_ns()
        if self._repeated is not None and answer.error is None:
            return self._ended_unchanged(answer, self._repeated, steady_ns)
        if self._repeated is None and clip is not None:
            gate.end(answer if answer.error is None else None)
        if answer.error is None and clip is not None:
            self.window.note_captioned(clip.end_ns)
            gate.note_sent(steady_ns)
        return answer

    def _ended_unchanged(self, answer: Answer, repeated: Description, steady_ns: int) -> Answer:
        gate, config, told = self.window.gate, self.config, repeated.answer
        assert told is not None and self._clip is not None
        is_due = gate.is_heartbeat_due(
            steady_ns, round(config.period * NANOSECONDS), round(config.heartbeat * NANOSECONDS)
        )
        if is_due:
            gate.note_sent(steady_ns)
        gate.unchanged_captions += 1
        gate.repeated_captions += is_due
        newest_ns = max(repeated.end_ns, self._clip.end_ns)
        self.window.note_captioned(newest_ns)
        evidence = replace(
            answer.evidence,
            frames=told.evidence.frames,
            start_ns=told.evidence.start_ns,
            end_ns=newest_ns,
            age_ns=self.now_ns() - newest_ns,
            stop_reason=told.evidence.stop_reason,
            is_truncated=told.evidence.is_truncated,
            unchanged_since_ns=repeated.end_ns,
        )
        return replace(answer, text=told.text, evidence=evidence, is_silent=not is_due)
