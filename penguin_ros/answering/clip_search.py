# SPDX-License-Identifier: Apache-2.0
"""Finds the frames that a request is about, at the moment it is started. Knows buffers, not models."""
from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.clip_buffer import ClipBuffer
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import IntervalUnavailable, NoFrames, StaleFrames
from penguin_ros.frame import NANOSECONDS, Clip
from penguin_ros.request import Interval


@dataclass(frozen=True, eq=False)
class FoundClip:
    """`is_cut`: frames of another size inside the interval were left out; `is_stale`: the newest frame is older than frames
    for the present may be; `frames_dropped`: frames of the camera that were lost in the stretch looked at."""

    clip: Clip
    is_cut: bool
    is_stale: bool
    frames_dropped: int


def find_clip(buffer: ClipBuffer, interval: Interval | None, config: PenguinConfig, now_ns: int) -> FoundClip:
    """The clip of an interval, or of the present (None); IntervalUnavailable, NoFrames, StaleFrames."""
    return _present(buffer, config, now_ns) if interval is None else _past(buffer, interval, config, now_ns)


def check_interval(buffer: ClipBuffer, interval: Interval) -> None:
    """IntervalUnavailable when the buffer holds no frame of it."""
    if not buffer.has_frames(interval):
        raise _unavailable(buffer, interval)


def _unavailable(buffer: ClipBuffer, interval: Interval) -> IntervalUnavailable:
    what, held = f'camera {buffer.camera} has no frame of that interval', buffer.span()
    if held is None:
        return IntervalUnavailable(what, 'it has no frames at all')
    return IntervalUnavailable(what, f'its frames reach from {held.start_ns / NANOSECONDS:.3f} s to '
                               f'{held.end_ns / NANOSECONDS:.3f} s, asked for were {interval.start_ns / NANOSECONDS:.3f} s to '
                               f'{interval.end_ns / NANOSECONDS:.3f} s',
                               'Ask for a later stretch, or raise buffer.seconds or buffer.max_bytes')


def _present(buffer: ClipBuffer, config: PenguinConfig, now_ns: int) -> FoundClip:
    age_ns, clip = buffer.age_ns(now_ns), buffer.newest_clip(config.clip)
    if age_ns is None or clip is None:
        raise NoFrames(f'camera {buffer.camera} has no frames', 'none has arrived yet, or time has jumped since',
                       'Check the topic of the camera: penguin doctor')
    if age_ns > round(config.watch.stale_after * NANOSECONDS):
        raise StaleFrames(f'the newest frame of camera {buffer.camera} is {age_ns / NANOSECONDS:.1f} s old',
                          f'frames for the present may be {config.watch.stale_after} s old (watch.stale_after)',
                          'Check that the camera runs, or ask for an interval in the past')
    return FoundClip(clip, False, False, buffer.dropped_between(clip.start_ns, max(now_ns, clip.end_ns)))


def _past(buffer: ClipBuffer, interval: Interval, config: PenguinConfig, now_ns: int) -> FoundClip:
    clip = buffer.interval_clip(interval, config.clip)
    if clip is None:
        raise _unavailable(buffer, interval)
    is_stale = now_ns - clip.end_ns > round(config.watch.stale_after * NANOSECONDS)
    return FoundClip(clip, not buffer.has_one_size(interval), is_stale,
                     buffer.dropped_between(interval.start_ns, interval.end_ns))
