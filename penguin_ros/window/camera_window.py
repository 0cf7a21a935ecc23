# SPDX-License-Identifier: Apache-2.0
"""The live window of one camera: takes frames out of its buffer as the policy says, and gives
clips. Knows no models, no ROS.

The worker thread takes frames and asks for clips; `is_due`, `status` and `forget` are for any. A
window holds on to its frames, clip.max_frames at most, when the buffer lets go of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

from penguin_ros.clip_buffer import ClipBuffer
from penguin_ros.frame import Clip, Frame, FrameType
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

# of frames that were encoded last; the least of them counts, since a key frame costs more than
# others
COSTS_KEPT = 4


@dataclass(frozen=True)
class WindowStatus:
    """`frames` in the window now; `taken`, `skipped`: frames of the grid that entered it, or did
    not because too many waited when the worker came to them; `restarts`: clips that began anew;
    `unchanged`: captions that needed no model since nothing had changed, of which `repeated` went
    out.
    """

    frames: int = 0
    taken: int = 0
    skipped: int = 0
    restarts: int = 0
    unchanged: int = 0
    repeated: int = 0


@dataclass(frozen=True, eq=False)
class WindowClip:
    """`plan`: types and sizes, None where the settings of `visual` decide them."""

    clip: Clip
    plan: FramePlan | None


class CameraWindow:
    """Forgets everything when its buffer does: after a jump of the clock, a restart of the camera,
    a flush.

    Frames that wait are taken when the worker comes to them: no more than a clip holds, and no more
    than could have been encoded since the last one was taken; evenly spread, the newest always
    among them. The others are skipped and counted.
    """

    def __init__(self, buffer: ClipBuffer, steady_ns: Callable[[], int]) -> None:
        self.gate = CaptionGate()
        self._buffer, self._steady_ns = buffer, steady_ns
        self._lock = threading.Lock()  # guards what `is_due` and `status` read
        self._grid = WindowSampler(1)
        self._policy, self._epoch = '', -1
        self._gathered_ns: int | None = None
        self._waiting: list[Frame] = []
        self._recent: Clip | None = None
        self._key: FrameSignature | None = None  # the latest key frame
        self._append_only = AppendOnlyClip()
        self._captioned_ns: int | None = None
        self._taken_at_ns = steady_ns()
        self._taken_ns: int | None = None
        self._frame_costs_ns: deque[int] = deque(maxlen=COSTS_KEPT)
        self._taken = self._skipped = self._restarts = 0
        self._is_new_stream = False

    # --- any thread -------------------------------------------------------------------------------

    def is_due(self, stamp_ns: int) -> bool:
        """Whether a frame of that stamp would enter the window."""
        with self._lock:
            return self._grid.is_due(stamp_ns)

    def status(self) -> WindowStatus:
        """A snapshot."""
        with self._lock:
            return WindowStatus(
                len(self._append_only.frames),
                self._taken,
                self._skipped,
                self._restarts,
                self.gate.unchanged_captions,
                self.gate.repeated_captions,
            )

    def forget(self) -> None:
        """What comes is a new stream, although the buffer keeps what it has: frames in between may
        have been missed.
        """
        self._is_new_stream = True

    # --- the worker thread ------------------------------------------------------------------------

    def take(self, rules: WindowRules) -> Generator[None, None, None]:
        """Looks at what has arrived, a frame per step; several may be under way, one step at a
        time.
        """
        self._gather(rules)
        while self._waiting:
            frame = self._waiting.pop(0)
            seen = frame_signature(frame.image) if rules.needs_comparison else None
            self._add(frame, seen, rules)
            yield

    def clip(self, rules: WindowRules) -> WindowClip | None:
        """The clip of the present, of what was taken; None without frames."""
        if rules.policy == RECENT:
            return WindowClip(self._recent, None) if self._recent is not None else None
        if not self._append_only.frames:
            return None
        raw = self._append_only.frames[-1].frame.size
        limits = rules.growth
        frames = newest_within(
            self._append_only.frames, limits.max_frames, limits.max_tokens, rules.costs(raw)
        )
        sizes = rules.sizes(raw)
        plan = FramePlan(
            tuple(range(len(frames))),
            tuple(frame.type for frame in frames),
            tuple(sizes[frame.type] for frame in frames),
        )
        return WindowClip(Clip(self._buffer.camera, tuple(frame.frame for frame in frames)), plan)

    def note_frame_cost(self, cost_ns: int) -> None:
        """What it took to encode a frame, in steady time; the first one alone says nothing, since
        libraries warm up.
        """
        self._frame_costs_ns.append(cost_ns)

    def begin_caption(self, clip: Clip, question: str) -> None:
        """A caption is made of `clip`; frames that no caption has told of are kept from now on."""
        self._captioned_ns = clip.start_ns if self._captioned_ns is None else self._captioned_ns
        self.gate.begin(question, clip.end_ns)

    def note_captioned(self, until_ns: int) -> None:
        """Captions have told of everything up to that stamp."""
        self._captioned_ns = until_ns

    def _gather(self, rules: WindowRules) -> None:
        """What the buffer has got since the last time becomes what waits."""
        if rules.policy != self._policy:
            self._policy = rules.policy
            self._begin(self._epoch)
        is_new_stream, self._is_new_stream = self._is_new_stream, False
        epoch, frames = self._buffer.newer_than(
            None if is_new_stream else self._gathered_ns, self._epoch
        )
        if epoch != self._epoch or is_new_stream:
            self._begin(epoch)
            self.gate.forget()
            self._captioned_ns = None
        with self._lock:
            if self._grid.period_ns != rules.period_ns:
                self._grid = WindowSampler(rules.period_ns)
            admitted = [frame for frame in frames if self._grid.take(frame.stamp_ns)]
        self._gathered_ns = frames[-1].stamp_ns if frames else self._gathered_ns
        if rules.policy == RECENT:
            self._gather_recent(rules)
        elif admitted:
            self._waiting = self._paced([*self._waiting, *admitted], rules)

    def _gather_recent(self, rules: WindowRules) -> None:
        self._recent = self._buffer.newest_clip(rules.config.clip)
        self._waiting = []
        if rules.is_gated and self._recent is not None:
            looked_ns = self.gate.newest_ns
            self._waiting = [
                frame
                for frame in self._recent.frames
                if looked_ns is None or frame.stamp_ns > looked_ns
            ]

    def _paced(self, waiting: list[Frame], rules: WindowRules) -> list[Frame]:
        newest_ns, limits = waiting[-1].stamp_ns, rules.growth
        oldest_ns = newest_ns - rules.span_ns
        if self._captioned_ns is not None:
            oldest_ns = min(oldest_ns, max(self._captioned_ns, newest_ns - limits.max_age_ns))
        wanted = [frame for frame in waiting if frame.stamp_ns > oldest_ns]
        most = limits.max_frames
        cost_ns = min(self._frame_costs_ns) if len(self._frame_costs_ns) > 1 else 0
        if cost_ns > 0:
            # A recording may be played faster than real time, or slower.
            since_ns = max(self._steady_ns() - self._taken_at_ns, newest_ns - (self._taken_ns or 0))
            most = min(most, max(1, since_ns // cost_ns))
        chosen = [wanted[rank] for rank in evenly(len(wanted), most)]
        with self._lock:
            self._skipped += len(wanted) - len(chosen)
        return chosen

    def _add(self, frame: Frame, seen: FrameSignature | None, rules: WindowRules) -> None:
        self._taken_at_ns, self._taken_ns = self._steady_ns(), frame.stamp_ns
        if seen is not None and rules.is_gated:
            self.gate.look(frame.stamp_ns, seen, rules.config.caption.gate_similarity)
        if rules.policy == RECENT:
            return
        growth = (
            self._appended(frame, seen, rules)
            if rules.policy == GROWING and seen is not None
            else AppendOnlyClip(
                slide(self._append_only.frames, frame, rules.max_slid_frames, rules.span_ns)
            )
        )
        with self._lock:
            self._restarts += (
                rules.policy == GROWING and 0 < growth.anchor == len(growth.frames) - 1
            )
            self._taken += 1
            self._append_only = growth

    def _appended(self, frame: Frame, seen: FrameSignature, rules: WindowRules) -> AppendOnlyClip:
        is_similar = self._key is not None and signature_similarity(self._key, seen) >= SAME_FRAME
        growth = append(
            self._append_only,
            frame,
            is_similar,
            rules.growth,
            rules.costs(frame.size),
            self._captioned_ns,
        )
        if growth.frames[-1].type is FrameType.KEY:
            self._key = seen
        return growth

    def _begin(self, epoch: int) -> None:
        """Without frames."""
        self._epoch, self._gathered_ns, self._recent = epoch, None, None
        self._key, self._waiting, self._taken_ns = None, [], None
        with self._lock:
            self._append_only, self._grid = AppendOnlyClip(), WindowSampler(self._grid.period_ns)
