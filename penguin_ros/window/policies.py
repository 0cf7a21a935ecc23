# SPDX-License-Identifier: Apache-2.0
"""How the frames of a window change when one more is taken, as pure functions of stamps and types.

Policy `growing` appends frames behind an anchor, so that the prompt only grows, until a limit or a
new scene restarts the clip. A frame's type is given once: key where a clip starts, else
intermediate, unless the frame is unlike the latest key frame and that one is KEY_SPACING frames
back or more. So the size of a frame, and with it its features, never changes, and two clips with
the same first frame share all frames of the shorter one. A clip that restarts keeps some frames
from before its anchor, in the sizes that they had.

Policy `sliding` keeps the newest frames, all of one size, so that features are reused when the
oldest frame leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penguin_ros.frame import Frame, FrameType
from penguin_ros.frame_sampling import evenly

TokenCosts = Mapping[FrameType, int]
"""Visual tokens of a frame, by its type."""

KEY_SPACING = 4
"""Frames from one key frame of a moving camera, where no frame is like the one before, to the next:
key frames alone, many times larger than others, would leave room for a second or two.
"""


@dataclass(frozen=True, eq=False)
class TypedFrame:
    """A frame of a window. Its `type` was given once and decides the size at which the model sees
    the frame, in whatever clip it stands; `is_similar`: it was like the latest key frame when it
    came.
    """

    frame: Frame
    type: FrameType
    is_similar: bool = False

    @property
    def stamp_ns(self) -> int:
        """The frame's stamp."""
        return self.frame.stamp_ns


@dataclass(frozen=True)
class RestartLimits:
    """When a growing clip restarts, and what it keeps then.

    `max_age_ns`: no frame that is older than this is kept; `span_ns`: frames older than this are
    kept only for a caption that has yet to cover them; `overlap`: frames kept at least.
    """

    max_frames: int
    max_tokens: int
    max_age_ns: int
    span_ns: int
    overlap: int


@dataclass(frozen=True, eq=False)
class AppendOnlyClip:
    """The frames of a window so far; `anchor` is the index of the frame with which the clip
    restarted, those before it were kept.
    """

    frames: tuple[TypedFrame, ...] = ()
    anchor: int = 0


def tokens_of_frames(frames: Iterable[TypedFrame], costs: TokenCosts) -> int:
    """Returns the visual tokens of all `frames` together."""
    return sum(costs[frame.type] for frame in frames)


def newest_within(
    frames: tuple[TypedFrame, ...], max_frames: int, max_tokens: int, costs: TokenCosts
) -> tuple[TypedFrame, ...]:
    """Returns the newest frames that keep both limits, one at least; it is fewer than `frames`
    where settings have become tighter since they came.
    """
    first = max(0, len(frames) - max_frames)
    while first < len(frames) - 1 and tokens_of_frames(frames[first:], costs) > max_tokens:
        first += 1
    return frames[first:]


def slide(
    frames: tuple[TypedFrame, ...], frame: Frame, max_frames: int, span_ns: int
) -> tuple[TypedFrame, ...]:
    """Returns the sliding window with its next frame: at most `max_frames` of one image size, with
    stamps in (newest - span_ns, newest].
    """
    if frames and frames[-1].frame.size != frame.size:
        frames = ()
    oldest_ns = frame.stamp_ns - span_ns
    kept = tuple(old for old in frames if old.stamp_ns > oldest_ns)
    return (*kept, TypedFrame(frame, FrameType.KEY))[-max_frames:]


def append(
    clip: AppendOnlyClip,
    frame: Frame,
    is_similar: bool,
    limits: RestartLimits,
    costs: TokenCosts,
    captioned_ns: int | None = None,
) -> AppendOnlyClip:
    """Returns the growing clip with its next frame, which is newer than all others; `is_similar`:
    it is like the latest key frame.

    `captioned_ns` is the stamp of the newest frame that a caption has covered; None: nobody
    captions this camera. A clip that restarts reaches back to the newest frame it still has from
    before that stamp, as far as max_age_ns, so that nothing happens between two captions.
    """
    is_first = not clip.frames or clip.frames[-1].frame.size != frame.size
    if is_first:
        return AppendOnlyClip((TypedFrame(frame, FrameType.KEY),))
    next_frame = TypedFrame(frame, _type(clip.frames, is_similar), is_similar)
    if not _must_restart(clip, next_frame, limits, costs):
        return AppendOnlyClip((*clip.frames, next_frame), clip.anchor)
    kept = _kept(clip.frames, frame.stamp_ns, limits, captioned_ns)
    kept = _thinned(kept, limits, costs)
    return AppendOnlyClip((*kept, TypedFrame(frame, FrameType.KEY, is_similar)), len(kept))


def _type(frames: tuple[TypedFrame, ...], is_similar: bool) -> FrameType:
    is_spaced = all(frame.type is FrameType.INTERMEDIATE for frame in frames[-KEY_SPACING + 1 :])
    return FrameType.KEY if is_spaced and not is_similar else FrameType.INTERMEDIATE


def _must_restart(
    clip: AppendOnlyClip, frame: TypedFrame, limits: RestartLimits, costs: TokenCosts
) -> bool:
    """Returns whether a limit is reached or another scene begins: an unlike frame after a like one
    is another scene; unlike frames in a row are a moving camera, whose clip goes on.
    """
    frames = clip.frames
    is_new_scene = frames[-1].is_similar and not frame.is_similar
    is_full = (
        len(frames) >= limits.max_frames
        or tokens_of_frames((*frames, frame), costs) > limits.max_tokens
    )
    is_old = frame.stamp_ns - frames[clip.anchor].stamp_ns > limits.max_age_ns
    return is_new_scene or is_full or is_old


def _kept(
    frames: tuple[TypedFrame, ...], anchor_ns: int, limits: RestartLimits, captioned_ns: int | None
) -> tuple[TypedFrame, ...]:
    """Returns the frames from the last captioned one on, or the last `overlap` ones, whichever are
    more, without those that are too old.
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
    """Returns the frames that no caption has covered, and the one before them."""
    captioned = sum(frame.stamp_ns <= captioned_ns for frame in frames)
    return frames[max(0, captioned - 1) :]


def _thinned(
    kept: tuple[TypedFrame, ...], limits: RestartLimits, costs: TokenCosts
) -> tuple[TypedFrame, ...]:
    """Thins the kept frames evenly to half of both limits, so that the clip has room to grow; the
    oldest is always among them.
    """
    max_tokens = max(limits.max_tokens // 2, min(costs.values()))
    max_tokens = min(max_tokens, limits.max_tokens - costs[FrameType.KEY])
    max_frames = min(len(kept), max(limits.max_frames // 2, 1), limits.max_frames - 1)
    for count in range(max_frames, 0, -1):
        chosen = tuple(kept[index] for index in evenly(len(kept), count))
        chosen = chosen if count > 1 else kept[:1]
        if tokens_of_frames(chosen, costs) <= max_tokens:
            return chosen
    return ()
