# SPDX-License-Identifier: Apache-2.0
"""Collects what an answer is based on and what it took while it is made. Knows no queue and no
callbacks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from penguin_ros.errors import DeadlineExceeded, PenguinError, RequestCancelled
from penguin_ros.frame import FrameType
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.model_inputs import ModelInputs
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.request import Evidence, FrameRef, StopReason
from penguin_ros.window.camera_window import ChosenClip

CUT_SHORT = (
    StopReason.MAX_TOKENS,
    StopReason.REPETITION,
    StopReason.DEADLINE,
    StopReason.CANCELLED,
    StopReason.ERROR,
)


@dataclass(eq=False)
class EvidenceBuilder:
    """Times are steady nanoseconds; 0 where something has not happened. Written by the worker
    thread.
    """

    received_ns: int
    output: GenerationOutput
    started_ns: int = 0
    first_token_ns: int = 0
    age_ns: int = 0
    is_stale: bool = False
    is_truncated: bool = False
    found: ChosenClip | None = None
    frames: tuple[FrameRef, ...] = ()

    def note_clip(self, found: ChosenClip) -> None:
        """The frames looked at, all of which count as seen until the inputs say which were left
        out.
        """
        self.found, self.is_stale, self.is_truncated = found, found.is_stale, found.is_cut
        self.frames = tuple(
            FrameRef(frame.stamp_ns, frame.camera, frame.frame_id, FrameType.KEY)
            for frame in found.clip.frames
        )

    def note_inputs(self, inputs: ModelInputs) -> None:
        """The frames that the model sees, and how."""
        self.is_truncated = self.is_truncated or inputs.is_truncated
        seen = zip(inputs.frame_indices, inputs.frames, strict=True)
        if self.found is None:
            self.frames = tuple(FrameRef(0, '', '', patches.type) for patches in inputs.frames)
        else:
            chosen = self.found.clip.frames
            self.frames = tuple(
                FrameRef(
                    chosen[index].stamp_ns,
                    chosen[index].camera,
                    chosen[index].frame_id,
                    patches.type,
                )
                for index, patches in seen
            )

    def note_first_token(self, steady_ns: int, now_ns: int) -> None:
        """`now_ns` is camera time."""
        self.first_token_ns = steady_ns - self.received_ns
        self.age_ns = now_ns - self.frames[-1].stamp_ns if self.found is not None else 0

    def evidence(
        self, facts: ModelDescription | None, error: PenguinError | None, steady_ns: int
    ) -> Evidence:
        """Of the answer as it is now, which ends with `error` or well; `facts` of the model unless
        there is none.
        """
        stop_reason = self._stop_reason(error)
        return Evidence(
            frames=self.frames,
            start_ns=self.frames[0].stamp_ns if self.frames else 0,
            end_ns=self.frames[-1].stamp_ns if self.frames else 0,
            age_ns=self.age_ns,
            model_name=facts.name if facts else '',
            model_digest=facts.digest if facts else '',
            backend=facts.backend if facts else '',
            precision=facts.precision if facts else '',
            wait_ns=(self.started_ns or steady_ns) - self.received_ns,
            first_token_ns=self.first_token_ns,
            stop_reason=stop_reason,
            is_truncated=self.is_truncated or stop_reason in CUT_SHORT,
            is_stale=self.is_stale,
            frames_dropped=self.found.frames_dropped if self.found else 0,
            stats=replace(self.output.stats),  # a copy: a step that hangs may still count
        )

    def _stop_reason(self, error: PenguinError | None) -> StopReason:
        if error is None:
            return self.output.stop_reason
        if isinstance(error, DeadlineExceeded):
            return StopReason.DEADLINE
        if isinstance(error, RequestCancelled):
            return StopReason.CANCELLED
        return StopReason.ERROR if self.output.token_ids else StopReason.NONE
