# SPDX-License-Identifier: Apache-2.0
"""One camera of the pipeline: its buffer, its window, its caption gate, and whether a precompute of
its frames is due.

Frames are added on an executor's thread. Clips are found and captions begun on the worker thread; a
caption ends there, or on the thread that gives up one that is stuck. The rest may be called on any
thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from penguin_ros.clip_buffer import Admission, BufferStatus, ClipBuffer
from penguin_ros.config import CaptionConfig, PenguinConfig
from penguin_ros.errors import IntervalUnavailable, NoFrames, StaleFrames
from penguin_ros.frame import NANOSECONDS, Clip, Frame
from penguin_ros.request import Answer, Interval
from penguin_ros.window.camera_window import CameraWindow, ChosenClip, WindowStatus
from penguin_ros.window.caption_gate import CaptionGate, GatedCaption
from penguin_ros.window.window_rules import RECENT, WindowRules


@dataclass(frozen=True, eq=False)
class BegunCaption:
    """A caption that is being made from `clip`; `repeated`: the last one, which holds as long as
    nothing has changed, None where the model must make a new one.
    """

    clip: Clip
    repeated: GatedCaption | None


class Camera:
    """What is kept of one camera, and how requests see it.

    `now_ns` gives camera time (the clock of the stamps), `steady_ns` a clock that never jumps.
    """

    def __init__(
        self,
        name: str,
        config: PenguinConfig,
        now_ns: Callable[[], int],
        steady_ns: Callable[[], int],
    ) -> None:
        self.name = name
        self._now_ns = now_ns
        self._steady_ns = steady_ns
        self._buffer = ClipBuffer(name, config.buffer, _tolerance_ns(config))
        self._tolerance_ns = _tolerance_ns(config)
        self._gate = CaptionGate()
        self._window = CameraWindow(self._buffer, self._gate, steady_ns)
        self._lock = threading.Lock()  # guards the flag below
        self._is_precompute_waiting = False
        self._reason = ''

    # --- any thread -------------------------------------------------------------------------------

    def add(self, frame: Frame) -> Admission:
        """Takes a frame, or drops and counts it (see ClipBuffer). The image must not be written to
        afterwards.
        """
        return self._buffer.add(frame, self._now_ns())

    def count_drop(self, cause: str, stamp_ns: int | None = None) -> None:
        """Counts a frame that was lost before it came here; `stamp_ns`: its stamp, if known."""
        self._buffer.count_drop(cause, self._now_ns() if stamp_ns is None else stamp_ns)

    def note_reason(self, reason: str) -> None:
        """Notes a sentence of whoever receives the frames on why they are missing or are not those
        of the present, '' when all is well. Refusals repeat it.
        """
        self._reason = reason

    def flush(self, cause: str) -> None:
        """Forgets all frames and counts them under `cause`."""
        self._buffer.flush(cause)

    def forget_window(self) -> None:
        """Begins a new window with the frames to come; those in the buffer stay."""
        self._window.forget()

    def configure(self, config: PenguinConfig) -> None:
        """Applies new bounds to the buffer at once."""
        self._tolerance_ns = _tolerance_ns(config)
        self._buffer.configure(config.buffer, self._tolerance_ns)

    def buffer_status(self) -> BufferStatus:
        """Returns a snapshot of the buffer."""
        return self._buffer.status(self._now_ns())

    def window_status(self) -> WindowStatus:
        """Returns a snapshot of the window."""
        return self._window.status()

    def check_interval(self, interval: Interval) -> None:
        """Raises IntervalUnavailable when the interval ends in the future, by the node's clock and
        by that of the stamps, or when the buffer holds no frame of it.
        """
        now_ns = self._now_ns()
        ahead_ns = interval.end_ns - max(now_ns, self._buffer.stream_time_ns(now_ns))
        if ahead_ns > self._tolerance_ns:
            raise IntervalUnavailable(
                'the interval lies in the future',
                f'it ends {ahead_ns / NANOSECONDS:.3f} s from now',
                'Ask for a stretch that has passed',
            )
        if not self._buffer.has_frames(interval):
            raise self._unavailable(interval)

    def check_present(self, config: PenguinConfig) -> None:
        """Raises NoFrames or StaleFrames when the newest frame does not show the present."""
        now_ns = self._now_ns()
        age_ns, since_ns = self._buffer.age_ns(now_ns), self._buffer.since_arrival_ns(now_ns)
        if age_ns is None or since_ns is None:
            raise self._no_frames()
        limit_s = config.watch.stale_after
        if age_ns <= round(limit_s * NANOSECONDS):
            return
        why = f'frames of the present may be {limit_s} s old (watch.stale_after)'
        fix = 'Check that the camera runs, or ask for an interval in the past'
        if since_ns <= round(limit_s * NANOSECONDS):
            why = f'it arrived {since_ns / NANOSECONDS:.1f} s ago: the clocks differ'
            fix = (
                'Set the clock of the camera; play recordings with `ros2 bag play --clock`, and '
                'set use_sim_time'
            )
        raise StaleFrames(
            f'the newest frame of camera {self.name} is {age_ns / NANOSECONDS:.1f} s old',
            self._reason or why,
            '' if self._reason else fix,
        )

    def claim_precompute(self, stamp_ns: int, config: PenguinConfig) -> bool:
        """Returns whether a precompute is due, now that a frame with that stamp has come, and notes
        that one waits.

        It is when the frame enters the window, its features can be kept, and none waits yet: a
        precompute takes all frames that are there when it runs.
        """
        is_wanted = (
            config.clip.window != RECENT
            and config.clip.precompute != 'off'
            and config.model.prefix_caching
        )
        if not is_wanted or not self._window.is_due(stamp_ns):
            return False
        with self._lock:
            is_claimed = not self._is_precompute_waiting
            self._is_precompute_waiting = True
        return is_claimed

    def release_precompute(self) -> None:
        """Notes that the precompute that waited is started or given up."""
        with self._lock:
            self._is_precompute_waiting = False

    # --- the worker thread ------------------------------------------------------------------------

    def find_clip(
        self, interval: Interval | None, rules: WindowRules, last_ns: int | None = None
    ) -> Generator[None, None, ChosenClip]:
        """Finds the clip of an interval, or of the present (None); yields after each frame that had
        to be looked at. `last_ns`: that of the present is no longer than this.

        Raises IntervalUnavailable, NoFrames, StaleFrames.
        """
        if interval is not None:
            return self._past_clip(interval, rules.config)
        self.check_present(rules.config)
        chosen = yield from self.present_clip(rules, last_ns)
        if chosen is None:
            raise self._no_frames()
        clip = chosen.clip
        dropped = self._buffer.dropped_between(clip.start_ns, max(self._now_ns(), clip.end_ns))
        return replace(chosen, frames_dropped=dropped)

    def present_clip(
        self, rules: WindowRules, last_ns: int | None = None
    ) -> Generator[None, None, ChosenClip | None]:
        """Takes the frames that have arrived into the window, one per step, and returns its clip;
        None without frames. See CameraWindow.clip.
        """
        yield from self._window.take(rules)
        return self._window.clip(rules, last_ns)

    def note_frame_cost(self, cost_ns: int) -> None:
        """Notes how long the encode of a frame took, which paces the window."""
        self._window.note_frame_cost(cost_ns)

    def begin_caption(self, question: str, clip: Clip, config: CaptionConfig) -> BegunCaption:
        """Begins a caption of `clip`, which may turn out to be the last one again."""
        repeated = self._gate.unchanged(question) if config.gate else None
        if repeated is None:
            self._window.note_caption_begun(clip.start_ns)
            self._gate.begin(question, clip.end_ns)
        return BegunCaption(clip, repeated)

    def end_caption(self, begun: BegunCaption, answer: Answer, config: CaptionConfig) -> Answer:
        """Ends a caption and returns it as whoever asked gets it; `answer` is what the model made,
        with nothing in it where it did not run.
        """
        if begun.repeated is not None and answer.error is None:
            return self._repeated(begun.clip, begun.repeated, answer, config)
        if begun.repeated is None:
            self._gate.end(answer if answer.error is None else None)
        if answer.error is None:
            self._window.note_captioned(begun.clip.end_ns)
            self._gate.note_sent(self._steady_ns())
        return answer

    def _repeated(
        self, clip: Clip, last: GatedCaption, answer: Answer, config: CaptionConfig
    ) -> Answer:
        """Returns the last caption again, with evidence up to the end of `clip`; it is silent
        unless a heartbeat is due.
        """
        gate = self._gate
        steady_ns = self._steady_ns()
        repeated = last.answer
        assert repeated is not None
        is_due = gate.is_heartbeat_due(
            steady_ns, round(config.period * NANOSECONDS), round(config.heartbeat * NANOSECONDS)
        )
        if is_due:
            gate.note_sent(steady_ns)
        gate.unchanged_captions += 1
        gate.repeated_captions += is_due
        newest_ns = max(last.end_ns, clip.end_ns)
        self._window.note_captioned(newest_ns)
        evidence = replace(
            answer.evidence,
            frames=repeated.evidence.frames,
            start_ns=repeated.evidence.start_ns,
            end_ns=newest_ns,
            age_ns=self._now_ns() - newest_ns,
            stop_reason=repeated.evidence.stop_reason,
            is_truncated=repeated.evidence.is_truncated,
            unchanged_since_ns=last.end_ns,
        )
        return replace(answer, text=repeated.text, evidence=evidence, is_silent=not is_due)

    def _past_clip(self, interval: Interval, config: PenguinConfig) -> ChosenClip:
        clip = self._buffer.interval_clip(interval, config.clip)
        if clip is None:
            raise self._unavailable(interval)
        return ChosenClip(
            clip,
            is_cut=not self._buffer.has_one_size(interval),
            is_stale=self._buffer.stream_time_ns(self._now_ns()) - clip.end_ns
            > round(config.watch.stale_after * NANOSECONDS),
            frames_dropped=self._buffer.dropped_between(interval.start_ns, interval.end_ns),
        )

    def _unavailable(self, interval: Interval) -> IntervalUnavailable:
        what, held = f'camera {self.name} has no frame of that interval', self._buffer.span()
        if held is None:
            return IntervalUnavailable(what, 'it has no frames at all')
        return IntervalUnavailable(
            what,
            f'its frames reach from {_seconds(held.start_ns)} to {_seconds(held.end_ns)}, asked for'
            f' were {_seconds(interval.start_ns)} to {_seconds(interval.end_ns)}',
            'Ask for a later stretch, or raise buffer.seconds or buffer.max_bytes',
        )

    def _no_frames(self) -> NoFrames:
        return NoFrames(
            f'camera {self.name} has no frames',
            self._reason or 'none has arrived yet, or time has jumped since',
            '' if self._reason else 'Check the topic of the camera: penguin doctor',
        )


def _tolerance_ns(config: PenguinConfig) -> int:
    return round(config.watch.future_tolerance * NANOSECONDS)


def _seconds(time_ns: int) -> str:
    return f'{time_ns / NANOSECONDS:.3f} s'
