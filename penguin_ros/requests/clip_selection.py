# SPDX-License-Identifier: Apache-2.0
"""Finds the frames that a request is about, at the moment it is started. Knows buffers and windows,
not models.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from penguin_ros.clip_buffer import ClipBuffer
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import IntervalUnavailable, NoFrames, StaleFrames
from penguin_ros.frame import NANOSECONDS, Clip
from penguin_ros.preprocessing.frame_plan import FramePlan
from penguin_ros.request import Interval
from penguin_ros.window.camera_window import CameraWindow
from penguin_ros.window.window_rules import WindowRules


@dataclass(frozen=True, eq=False)
class CameraView:
    """One camera: the frames that are kept of it, and the window through which requests see the
    present.
    """

    buffer: ClipBuffer
    window: CameraWindow


def camera_view(camera: str, config: PenguinConfig, steady_ns: Callable[[], int]) -> CameraView:
    """Of a camera without frames."""
    buffer = ClipBuffer(camera, config.buffer, round(config.watch.future_tolerance * NANOSECONDS))
    return CameraView(buffer, CameraWindow(buffer, steady_ns))


@dataclass(frozen=True, eq=False)
class FoundClip:
    """`is_cut`: frames of another size inside the interval were left out; `is_stale`: the newest
    frame is older than frames for the present may be; `frames_dropped`: frames of the camera that
    were lost in the stretch looked at; `plan`: types and sizes of the frames where the window
    decides them, else None.
    """

    clip: Clip
    is_cut: bool
    is_stale: bool
    frames_dropped: int
    plan: FramePlan | None = None


def find_clip(
    view: CameraView, interval: Interval | None, rules: WindowRules, now_ns: Callable[[], int]
) -> Generator[None, None, FoundClip]:
    """The clip of an interval, or of the present (None); IntervalUnavailable, NoFrames,
    StaleFrames. Worker thread.

    Yields after each frame that had to be looked at.
    """
    if interval is not None:
        return _past(view.buffer, interval, rules.config, now_ns())
    _check_present(view.buffer, rules.config, now_ns())
    yield from view.window.take(rules)
    found = view.window.clip(rules)
    if found is None:
        raise _no_frames(view.buffer)
    clip = found.clip
    return FoundClip(
        clip,
        False,
        False,
        view.buffer.dropped_between(clip.start_ns, max(now_ns(), clip.end_ns)),
        found.plan,
    )


def check_interval(buffer: ClipBuffer, interval: Interval) -> None:
    """IntervalUnavailable when the buffer holds no frame of it."""
    if not buffer.has_frames(interval):
        raise _unavailable(buffer, interval)


def _unavailable(buffer: ClipBuffer, interval: Interval) -> IntervalUnavailable:
    what, held = f'camera {buffer.camera} has no frame of that interval', buffer.span()
    if held is None:
        return IntervalUnavailable(what, 'it has no frames at all')
    return IntervalUnavailable(
        what,
        f'its frames reach from {held.start_ns / NANOSECONDS:.3f} s to '
        f'{held.end_ns / NANOSECONDS:.3f} s, asked for were {interval.start_ns / NANOSECONDS:.3f} s to '
        f'{interval.end_ns / NANOSECONDS:.3f} s',
        'Ask for a later stretch, or raise buffer.seconds or buffer.max_bytes',
    )


def _check_present(buffer: ClipBuffer, config: PenguinConfig, now_ns: int) -> None:
    age_ns = buffer.age_ns(now_ns)
    if age_ns is None:
        raise _no_frames(buffer)
    if age_ns > round(config.watch.stale_after * NANOSECONDS):
        raise StaleFrames(
            f'the newest frame of camera {buffer.camera} is {age_ns / NANOSECONDS:.1f} s old',
            f'frames for the present may be {config.watch.stale_after} s old (watch.stale_after)',
            'Check that the camera runs, or ask for an interval in the past',
        )


def _no_frames(buffer: ClipBuffer) -> NoFrames:
    return NoFrames(
        f'camera {buffer.camera} has no frames',
        'none has arrived yet, or time has jumped since',
        'Check the topic of the camera: penguin doctor',
    )


def _past(buffer: ClipBuffer, interval: Interval, config: PenguinConfig, now_ns: int) -> FoundClip:
    clip = buffer.interval_clip(interval, config.clip)
    if clip is None:
        raise _unavailable(buffer, interval)
    is_stale = now_ns - clip.end_ns > round(config.watch.stale_after * NANOSECONDS)
    return FoundClip(
        clip,
        not buffer.has_one_size(interval),
        is_stale,
        buffer.dropped_between(interval.start_ns, interval.end_ns),
    )
