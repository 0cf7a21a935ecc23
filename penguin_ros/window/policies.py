# SPDX-License-Identifier: Apache-2.0
"""Policy `growing`: new frames are appended behind an anchor, so that the prompt only grows. Pure;
knows no pixels.

A frame's type is given once: key where a clip begins anew, else intermediate, unless it is unlike
the latest key frame and that is KEY_SPACING frames back or more. So the size of a frame, and with
it its features, never change, and two clips with the same first frame share all frames of the
shorter one. A clip that begins anew keeps frames from before its anchor in their sizes.

Policy `sliding`: the newest frames of the grid, all of one size, so that features are kept when the
oldest goes. Pure.

A frame of a window and what it costs: values. Knows neither buffers nor policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penguin_ros.frame import Frame, FrameType
from penguin_ros.frame_sampling import evenly

TokenCosts = Mapping[FrameType, int]
"""Visual tokens of a frame, by its type."""


@dataclass(frozen=True, eq=False)
class TypedFrame:
    """`type` was given once and decides the size at which the model sees the frame, in whatever
    clip it stands.

    `is_similar`: like the latest key frame when it came.
    """

    frame: Frame
    type: FrameType
    is_similar: bool = False

    @property
    def stamp_ns(self) -> int:
        """Of the frame."""
        return self.frame.stamp_ns


def tokens_of_frames(frames: Iterable[TypedFrame], costs: TokenCosts) -> int:
    """Of all together."""
    return sum(costs[frame.type] for frame in frames)


def newest_within(
    frames: tuple[TypedFrame, ...], max_frames: int, max_tokens: int, costs: TokenCosts
) -> tuple[TypedFrame, ...]:
    """The newest frames that keep both limits, one at least: where settings have become tighter
    since the frames came.
    """
    first = max(0, len(frames) - max_frames)
    while first < len(frames) - 1 and tokens_of_frames(frames[first:], costs) > max_tokens:
        first += 1
    return frames[first:]


def slid(
    frames: tuple[TypedFrame, ...], frame: Frame, max_frames: int, span_ns: int
) -> tuple[TypedFrame, ...]:
    """The window with its next frame: at most `max_frames` of one picture size, stamps in (newest -
    span_ns, newest].
    """
    if frames and frames[-1].frame.size != frame.size:
        frames = ()
    oldest_ns = frame.stamp_ns - span_ns
    kept = tuple(old for old in frames if old.stamp_ns > oldest_ns)
    return (*kept, TypedFrame(frame, FrameType.KEY))[-max_frames:]


KEY_SPACING = 4
"""Frames from one key frame of a moving camera, where none is like the one before, to the next: key
frames alone, many times larger than others, would leave room for a second or two.
"""


@dataclass(frozen=True)
class RestartLimits:
    """When a clip begins anew, and what it keeps then.

    `span_ns`: frames older than that before the anchor are kept for captions only; `overlap`:
    frames kept at least.
    """

    max_frames: int
    max_tokens: int
    max_age_ns: int
    span_ns: int
    overlap: int


@dataclass(frozen=True, eq=False)
class AppendOnlyClip:
    """The clip so far; `anchor` is the index of the frame with which it began anew, those before it
    were kept.
    """

    frames: tuple[TypedFrame, ...] = ()
    anchor: int = 0


def appended(
    append_only: AppendOnlyClip,
    frame: Frame,
    is_similar: bool,
    limits: RestartLimits,
    costs: TokenCosts,
    captioned_ns: int | None = None,
) -> AppendOnlyClip:
    """The clip with its next frame, which is newer than all others; `is_similar`: like the latest
    key frame.

    `captioned_ns`: stamp of the newest frame that a caption has told of; None: no caption asks for
    what came before. A clip that begins anew reaches back to that frame, as far as max_age_ns, so
    that nothing happens between two captions.
    """
    is_first = not append_only.frames or append_only.frames[-1].frame.size != frame.size
    if is_first:
        return AppendOnlyClip((TypedFrame(frame, FrameType.KEY),))
    next_frame = TypedFrame(frame, _type(append_only.frames, is_similar), is_similar)
    if not _restarts(append_only, next_frame, limits, costs):
        return AppendOnlyClip((*append_only.frames, next_frame), append_only.anchor)
    kept = _kept(append_only.frames, frame.stamp_ns, limits, captioned_ns)
    kept = _thinned(kept, limits, costs)
    return AppendOnlyClip((*kept, TypedFrame(frame, FrameType.KEY, is_similar)), len(kept))


def _type(frames: tuple[TypedFrame, ...], is_similar: bool) -> FrameType:
    is_spaced = all(frame.type is FrameType.INTERMEDIATE for frame in frames[-KEY_SPACING + 1 :])
    return FrameType.KEY if is_spaced and not is_similar else FrameType.INTERMEDIATE


def _restarts(
    append_only: AppendOnlyClip, frame: TypedFrame, limits: RestartLimits, costs: TokenCosts
) -> bool:
    """An unlike frame after a like one is another scene; unlike frames in a row are a moving
    camera, whose clip goes on.
    """
    frames = append_only.frames
    is_new_scene = frames[-1].is_similar and not frame.is_similar
    is_full = (
        len(frames) >= limits.max_frames
        or tokens_of_frames((*frames, frame), costs) > limits.max_tokens
    )
    is_old = frame.stamp_ns - frames[append_only.anchor].stamp_ns > limits.max_age_ns
    return is_new_scene or is_full or is_old


def _kept(
    frames: tuple[TypedFrame, ...], anchor_ns: int, limits: RestartLimits, captioned_ns: int | None
) -> tuple[TypedFrame, ...]:
    """From the last captioned frame on, or the last `overlap` ones, whichever is more; none too
    old.
    """
    uncaptioned = _uncaptioned(frames, captioned_ns) if captioned_ns is not None else ()
    recent = tuple(
        frame
        for frame in frames[max(0, len(frames) - limits.overlap) :]
        if anchor_ns - frame.stamp_ns < limits.span_ns
    )
    longer = max(uncaptioned, recent, key=len)
    return tuple(frame for frame in longer if anchor_ns - frame.stamp_ns <= limits.max_age_ns)


def _uncaptioned(frames: tuple[TypedFrame, ...], captioned_ns: int) -> tuple[TypedFrame, ...]:
    captioned = sum(frame.stamp_ns <= captioned_ns for frame in frames)
    return frames[max(0, captioned - 1) :]


def _thinned(
    kept: tuple[TypedFrame, ...], limits: RestartLimits, costs: TokenCosts
) -> tuple[TypedFrame, ...]:
    """At most half of both limits, so that the clip has room to grow; evenly, the oldest always
    among them.
    """
    most_tokens = max(limits.max_tokens // 2, min(costs.values()))
    most_tokens = min(most_tokens, limits.max_tokens - costs[FrameType.KEY])
    for most in range(min(len(kept), max(limits.max_frames // 2, 1), limits.max_frames - 1), 0, -1):
        chosen = tuple(kept[rank] for rank in evenly(len(kept), most)) if most > 1 else kept[:1]
        if tokens_of_frames(chosen, costs) <= most_tokens:
            return chosen
    return ()
