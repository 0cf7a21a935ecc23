# SPDX-License-Identifier: Apache-2.0
"""The live window of one camera: takes frames out of its buffer as the policy says, and makes the
clip of the present from them.

The worker thread takes frames and asks for clips; `is_due`, `status` and `forget` may be called on
any thread. A window keeps its frames, clip.max_frames at most, when the buffer drops them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from penguin_ros.clip_buffer import ClipBuffer
from penguin_ros.frame import NANOSECONDS, Clip, Frame, FrameType
from penguin_ros.frame_sampling import WindowSampler, evenly
from penguin_ros.preprocessing.frame_plan import FramePlan
from penguin_ros.preprocessing.frame_types import (
    SAME_FRAME,
    FrameSignature,
    frame_signature,
    signature_similarity,
)
from penguin_ros.window.caption_gate import CaptionGate
from penguin_ros.window.policies import AppendOnlyClip, append, newest_within, slide
from penguin_ros.window.window_rules import GROWING, RECENT, WindowRules

COSTS_KEPT = 4
"""Encode times kept, of the frames encoded last; the least of them counts, since a key frame costs
more than others.
"""


@dataclass(frozen=True)
class WindowStatus:
    """A snapshot of a window.

    `frames`: in the window now; `taken`: frames on the grid that entered it; `skipped`: those that
    did not, because too many waited when the worker came to them; `restarts`: of growing clips;
    `unchanged`: captions that needed no model since nothing had changed, of which `repeated` were
    published.
    """

    frames: int = 0
    taken: int = 0
    skipped: int = 0
    restarts: int = 0
    unchanged: int = 0
    repeated: int = 0


@dataclass(frozen=True, eq=False)
class ChosenClip:
    """The frames that a request is about.

    `plan`: types and sizes of the frames where the window decides them, None where the settings of
    `visual` do; `is_cut`: frames of another size inside the interval were left out; `is_stale`: the
    newest frame is older than frames of the present may be; `frames_dropped`: frames of the camera
    that were lost in the stretch looked at.
    """

    clip: Clip
    plan: FramePlan | None = None
    is_cut: bool = False
    is_stale: bool = False
    frames_dropped: int = 0


class CameraWindow:
    """The frames of one camera's present, under one of the three policies.

    A window forgets everything when its buffer does: after a jump of the clock, a restart of the
    camera, a flush. Frames that wait are taken when the worker comes to them: no more than a clip
    holds, and no more than could have been encoded since the last one was taken; evenly spread, the
    newest always among them. The others are skipped and counted.
    """

    def __init__(self, buffer: ClipBuffer, gate: CaptionGate, steady_ns: Callable[[], int]) -> None:
        self._buffer = buffer
        self._gate = gate
        self._steady_ns = steady_ns
        self._lock = threading.Lock()  # guards what `is_due` and `status` read
        self._sampler = WindowSampler(1)
        self._policy = ''
        self._epoch = -1
        self._gathered_ns: int | None = None
        self._waiting: list[Frame] = []
        self._recent: Clip | None = None
        self._key: FrameSignature | None = None  # the latest key frame
        self._held = AppendOnlyClip()
        self._captioned_ns: int | None = None
        self._taken_at_ns = steady_ns()
        self._taken_ns: int | None = None
        self._frame_costs_ns: deque[int] = deque(maxlen=COSTS_KEPT)
        self._taken = 0
        self._skipped = 0
        self._restarts = 0
        self._is_new_stream = False

    # --- any thread -------------------------------------------------------------------------------

    def is_due(self, stamp_ns: int) -> bool:
        """Returns whether a frame with that stamp would enter the window."""
        with self._lock:
            return self._sampler.is_due(stamp_ns)

    def status(self) -> WindowStatus:
        """Returns a snapshot."""
        with self._lock:
            return WindowStatus(
                frames=len(self._held.frames),
                taken=self._taken,
                skipped=self._skipped,
                restarts=self._restarts,
                unchanged=self._gate.unchanged_captions,
                repeated=self._gate.repeated_captions,
            )

    def forget(self) -> None:
        """Treats the frames to come as a new stream, although the buffer keeps its frames: some in
        between may have been missed.
        """
        self._is_new_stream = True

    # --- the worker thread ------------------------------------------------------------------------

    def take(self, rules: WindowRules) -> Generator[None, None, None]:
        """Takes the frames that have arrived, one per step; several such generators may be under
        way, one step at a time.
        """
        self._gather(rules)
        while self._waiting:
            frame = self._waiting.pop(0)
            signature = frame_signature(frame.image) if rules.needs_comparison else None
            self._add(frame, signature, rules)
            yield

    def clip(self, rules: WindowRules, last_ns: int | None = None) -> ChosenClip | None:
        """Returns the clip of the present from the frames that were taken; None without frames.

        With `last_ns`, its frames have stamps in (newest - last_ns, newest]: those of the window,
        as they are encoded for all, and under RECENT those of the buffer.
        """
        if rules.policy == RECENT:
            return self._recent_clip(rules, last_ns)
        held = self._held.frames
        if last_ns is not None:
            held = tuple(
                each for each in held if held[-1].frame.stamp_ns - each.frame.stamp_ns < last_ns
            )
        if not held:
            return None
        raw = held[-1].frame.size
        limits = rules.restart_limits
        frames = newest_within(held, limits.max_frames, limits.max_tokens, rules.costs(raw))
        sizes = rules.sizes(raw)
        plan = FramePlan(
            tuple(range(len(frames))),
            tuple(frame.type for frame in frames),
            tuple(sizes[frame.type] for frame in frames),
        )
        return ChosenClip(Clip(self._buffer.camera, tuple(frame.frame for frame in frames)), plan)

    def _recent_clip(self, rules: WindowRules, last_ns: int | None) -> ChosenClip | None:
        clip = self._recent
        if clip is not None and last_ns is not None and last_ns != rules.span_ns:
            choice = replace(rules.config.clip, seconds=last_ns / NANOSECONDS)
            clip = self._buffer.newest_clip(choice)
        return ChosenClip(clip) if clip is not None else None

    def note_frame_cost(self, cost_ns: int) -> None:
        """Notes how long the encode of a frame took, in steady time; the first one alone says
        nothing, since libraries warm up.
        """
        self._frame_costs_ns.append(cost_ns)

    def note_caption_begun(self, start_ns: int) -> None:
        """Notes that a caption is made from a clip that starts at that stamp: from now on, frames
        that no caption has covered are kept.
        """
        if self._captioned_ns is None:
            self._captioned_ns = start_ns

    def note_captioned(self, until_ns: int) -> None:
        """Notes that captions have covered everything up to that stamp."""
        self._captioned_ns = until_ns

    def _gather(self, rules: WindowRules) -> None:
        """Puts the frames that the buffer has got since the last time in line."""
        if rules.policy != self._policy:
            self._policy = rules.policy
            self._begin(self._epoch)
        is_new_stream, self._is_new_stream = self._is_new_stream, False
        epoch, frames = self._buffer.newer_than(
            None if is_new_stream else self._gathered_ns, self._epoch
        )
        if epoch != self._epoch or is_new_stream:
            self._begin(epoch)
            self._gate.forget()
            self._captioned_ns = None
        with self._lock:
            if self._sampler.period_ns != rules.period_ns:
                self._sampler = WindowSampler(rules.period_ns)
            sampled = [frame for frame in frames if self._sampler.take(frame.stamp_ns)]
        self._gathered_ns = frames[-1].stamp_ns if frames else self._gathered_ns
        if rules.policy == RECENT:
            self._gather_recent(rules)
        elif sampled:
            self._waiting = self._paced([*self._waiting, *sampled], rules)

    def _gather_recent(self, rules: WindowRules) -> None:
        self._recent = self._buffer.newest_clip(rules.config.clip)
        self._waiting = []
        if rules.is_gated and self._recent is not None:
            looked_ns = self._gate.newest_ns
            self._waiting = [
                frame
                for frame in self._recent.frames
                if looked_ns is None or frame.stamp_ns > looked_ns
            ]

    def _paced(self, waiting: list[Frame], rules: WindowRules) -> list[Frame]:
        """Thins the frames in line to those that can be encoded in the time there is."""
        newest_ns, limits = waiting[-1].stamp_ns, rules.restart_limits
        oldest_ns = newest_ns - rules.span_ns
        if self._captioned_ns is not None:
            oldest_ns = min(oldest_ns, max(self._captioned_ns, newest_ns - limits.max_age_ns))
        wanted = [frame for frame in waiting if frame.stamp_ns > oldest_ns]
        max_count = limits.max_frames
        cost_ns = min(self._frame_costs_ns) if len(self._frame_costs_ns) > 1 else 0
        if cost_ns > 0:
            # A recording may be played faster than real time, or slower.
            since_ns = max(self._steady_ns() - self._taken_at_ns, newest_ns - (self._taken_ns or 0))
            max_count = min(max_count, max(1, since_ns // cost_ns))
        chosen = [wanted[index] for index in evenly(len(wanted), max_count)]
        with self._lock:
            self._skipped += len(wanted) - len(chosen)
        return chosen

    def _add(self, frame: Frame, signature: FrameSignature | None, rules: WindowRules) -> None:
        self._taken_at_ns = self._steady_ns()
        self._taken_ns = frame.stamp_ns
        if signature is not None and rules.is_gated:
            self._gate.look(frame.stamp_ns, signature, rules.config.caption.gate_similarity)
        if rules.policy == RECENT:
            return
        has_restarted = False
        if rules.policy == GROWING and signature is not None:
            clip = self._appended(frame, signature, rules)
            has_restarted = 0 < clip.anchor == len(clip.frames) - 1
        else:
            frames = slide(self._held.frames, frame, rules.max_slid_frames, rules.span_ns)
            clip = AppendOnlyClip(frames)
        with self._lock:
            self._restarts += has_restarted
            self._taken += 1
            self._held = clip

    def _appended(
        self, frame: Frame, signature: FrameSignature, rules: WindowRules
    ) -> AppendOnlyClip:
        is_similar = (
            self._key is not None and signature_similarity(self._key, signature) >= SAME_FRAME
        )
        clip = append(
            self._held,
            frame,
            is_similar,
            rules.restart_limits,
            rules.costs(frame.size),
            self._captioned_ns,
        )
        if clip.frames[-1].type is FrameType.KEY:
            self._key = signature
        return clip

    def _begin(self, epoch: int) -> None:
        """Begins a stream, without frames."""
        self._epoch = epoch
        self._gathered_ns = None
        self._recent = None
        self._key = None
        self._waiting = []
        self._taken_ns = None
        with self._lock:
            self._held = AppendOnlyClip()
            self._sampler = WindowSampler(self._sampler.period_ns)
