# SPDX-License-Identifier: Apache-2.0
"""Collects, while an answer is made, what it is based on and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from penguin_ros.errors import DeadlineExceeded, PenguinError, RequestCancelled
from penguin_ros.frame import Frame, FrameType
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.preprocessing.dialogue import Turn
from penguin_ros.request import Evidence, FrameRef, StopReason
from penguin_ros.window.camera_window import ChosenClip

CUT_SHORT = (
    StopReason.MAX_TOKENS,
    StopReason.REPETITION,
    StopReason.DEADLINE,
    StopReason.CANCELLED,
    StopReason.ERROR,
)
"""Stop reasons of a text that the model would have continued."""


@dataclass(eq=False)
class EvidenceBuilder:
    """The evidence of one answer, written by the worker thread. Times are those of the steady
    clock, 0 where something has not happened.
    """

    received_ns: int
    output: GenerationOutput
    started_ns: int = 0
    first_token_ns: int = 0
    age_ns: int = 0
    is_stale: bool = False
    is_truncated: bool = False
    chosen: ChosenClip | None = None
    frames: tuple[FrameRef, ...] = ()
    image_stamps_ns: tuple[int, ...] = ()
    endpoint: str = ''
    fallback_reason: str = ''

    def note_clip(self, chosen: ChosenClip) -> None:
        """Notes the frames looked at, all of which count as seen until the inputs say which were
        left out.
        """
        self.chosen = chosen
        self.is_stale = chosen.is_stale
        self.is_truncated = chosen.is_cut
        self.frames = tuple(_reference(frame, FrameType.KEY) for frame in chosen.clip.frames)

    def note_inputs(self, inputs: ModelInputs | Turn) -> None:
        """Notes the frames that the model sees, and their types."""
        self.is_truncated = self.is_truncated or inputs.is_truncated
        if self.chosen is None:
            stamps = self.image_stamps_ns or (0,) * (1 + max(inputs.frame_indices, default=0))
            self.frames = tuple(
                FrameRef(stamps[index], '', '', patches.type)
                for index, patches in zip(inputs.frame_indices, inputs.frames, strict=True)
            )
            return
        frames = self.chosen.clip.frames
        seen = zip(inputs.frame_indices, inputs.frames, strict=True)
        self.frames = tuple(_reference(frames[index], patches.type) for index, patches in seen)

    def note_said(self, inputs: ModelInputs, frames: Sequence[Frame], is_left_out: bool) -> None:
        """Notes what the model sees of a dialogue."""
        self.is_truncated = inputs.is_truncated or is_left_out
        self.frames = tuple(
            _reference(frame, patches.type)
            for frame, patches in zip(frames, inputs.frames, strict=True)
        )

    def note_earlier(self, frames: tuple[FrameRef, ...], is_cut: bool) -> None:
        """Notes the frames that earlier turns of a conversation show, each frame once; `is_cut`:
        turns were left out.
        """
        shown = (*frames, *self.frames)
        stamped = {(each.camera, each.stamp_ns): each for each in shown if each.stamp_ns}
        self.frames = (
            *(each for each in shown if not each.stamp_ns),
            *sorted(stamped.values(), key=lambda each: each.stamp_ns),
        )
        self.is_truncated = self.is_truncated or is_cut

    def note_first_token(self, steady_ns: int, now_ns: int) -> None:
        """Notes that the first token has left; `now_ns` is camera time."""
        self.first_token_ns = steady_ns - self.received_ns
        end_ns = self.frames[-1].stamp_ns if self.frames else 0
        self.age_ns = now_ns - end_ns if end_ns else 0

    def evidence(
        self, model: ModelDescription, error: PenguinError | None, steady_ns: int
    ) -> Evidence:
        """Returns the evidence of the answer as it is now, which ends with `error`, or well."""
        stop_reason = self._stop_reason(error)
        return Evidence(
            frames=self.frames,
            start_ns=self.frames[0].stamp_ns if self.frames else 0,
            end_ns=self.frames[-1].stamp_ns if self.frames else 0,
            age_ns=self.age_ns,
            model_name=model.name,
            model_digest=model.digest,
            backend=model.backend,
            precision=model.precision,
            wait_ns=(self.started_ns or steady_ns) - self.received_ns,
            first_token_ns=self.first_token_ns,
            stop_reason=stop_reason,
            is_truncated=self.is_truncated or stop_reason in CUT_SHORT,
            is_stale=self.is_stale,
            frames_dropped=self.chosen.frames_dropped if self.chosen else 0,
            endpoint=self.endpoint,
            fallback_reason=self.fallback_reason,
            stats=replace(self.output.stats),  # a copy: a step that hangs may still count
        )

    def _stop_reason(self, error: PenguinError | None) -> StopReason:
        if error is None:
            return self.output.stop_reason
        if isinstance(error, DeadlineExceeded):
            return StopReason.DEADLINE
        if isinstance(error, RequestCancelled):
            return StopReason.CANCELLED
        return StopReason.ERROR if self.output.text or self.output.token_ids else StopReason.NONE


def _reference(frame: Frame, kind: FrameType) -> FrameRef:
    return FrameRef(frame.stamp_ns, frame.camera, frame.frame_id, kind)
