# SPDX-License-Identifier: Apache-2.0
"""Growing clips keep their prefix and their limits and lose nothing between two captions; sliding
windows hold the newest frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from penguin_ros.frame import Frame, FrameType
from penguin_ros.window.policies import (
    AppendOnlyClip,
    RestartLimits,
    TokenCosts,
    TypedFrame,
    append,
    slide,
    tokens_of_frames,
)

KEY, INTERMEDIATE = FrameType.KEY, FrameType.INTERMEDIATE
COSTS = {KEY: 16, INTERMEDIATE: 4}
LIMITS = RestartLimits(max_frames=8, max_tokens=64, max_age_ns=30_000, span_ns=4_000, overlap=2)
IMAGE = np.zeros((1, 1, 3), np.uint8)
LARGER = np.zeros((2, 1, 3), np.uint8)


@dataclass
class Stream:
    """Frames as they come, the clip after each, and captions of it.

    `captions` has the first and last stamp of each one that was made, and the index of the first
    frame that came after its begin. A clip that holds a frame up to the end of a caption is bridged
    to it; `lost` has, by the index of the frame that came, the age of the last such frame when it
    left the clip and no older one stayed.
    """

    limits: RestartLimits = LIMITS
    costs: TokenCosts = field(default_factory=lambda: dict(COSTS))
    clip: AppendOnlyClip = field(default_factory=AppendOnlyClip)
    captioned_ns: int | None = None
    begun: tuple[int, int, int] | None = None
    captions: list[tuple[int, int, int]] = field(default_factory=list)
    frames: int = 0
    lost: dict[int, int] = field(default_factory=dict)

    def add(self, stamp_ns: int, is_similar: bool = True, image: np.ndarray = IMAGE) -> list[int]:
        bridges = self.bridges
        self.clip = append(
            self.clip,
            Frame(stamp_ns, image),
            is_similar,
            self.limits,
            self.costs,
            self.captioned_ns,
        )
        lost = bridges.keys() - self.bridges.keys()
        if lost:
            self.lost[self.frames] = stamp_ns - max(bridges[end_ns] for end_ns in lost)
        self.frames += 1
        return self.stamps

    @property
    def bridges(self) -> dict[int, int]:
        """The newest frame up to the end of the last caption, and of the one that is made; by these
        ends.
        """
        ends = [self.captioned_ns, self.begun[1] if self.begun is not None else None]
        held = {
            end: [stamp for stamp in self.stamps if stamp <= end] for end in ends if end is not None
        }
        return {end: max(stamps) for end, stamps in held.items() if stamps}

    @property
    def stamps(self) -> list[int]:
        return [frame.stamp_ns for frame in self.clip.frames]

    def begin(self) -> None:
        self.begun = self.stamps[0], self.stamps[-1], self.frames
        self.captioned_ns = self.begun[0] if self.captioned_ns is None else self.captioned_ns

    def end(self, is_made: bool = True) -> None:
        if self.begun is not None and is_made:
            self.captions.append(self.begun)
            self.captioned_ns = self.begun[1]
        self.begun = None


def test_frames_of_one_scene_are_appended_behind_the_anchor() -> None:
    stream = Stream()
    for number in range(8):
        stream.add(number * 500, number > 0)
    assert stream.stamps == [number * 500 for number in range(8)] and stream.clip.anchor == 0
    assert [frame.type for frame in stream.clip.frames] == [KEY] + [INTERMEDIATE] * 7


def test_at_the_limit_of_frames_the_clip_restarts_with_the_last_two_before_its_new_anchor() -> None:
    stream = Stream()
    for number in range(9):
        stream.add(number * 500, number > 0)
    assert stream.stamps == [3000, 3500, 4000] and stream.clip.anchor == 2
    assert [frame.type for frame in stream.clip.frames] == [INTERMEDIATE, INTERMEDIATE, KEY]


def test_at_the_limit_of_tokens_too() -> None:
    stream = Stream(
        RestartLimits(max_frames=99, max_tokens=28, max_age_ns=30_000, span_ns=4_000, overlap=1)
    )
    for number in range(5):
        stream.add(number * 500, number > 0)
    assert stream.stamps == [1500, 2000]


def test_after_its_maximum_age_too() -> None:
    stream = Stream(
        RestartLimits(max_frames=99, max_tokens=999, max_age_ns=1_500, span_ns=4_000, overlap=1)
    )
    for number in range(5):
        stream.add(number * 500, number > 0)
    assert stream.stamps == [1500, 2000]


def test_another_scene_begins_a_clip_and_a_moving_camera_does_not() -> None:
    stream = Stream()
    for number, is_similar in enumerate([False, True, True, True, False]):
        stream.add(number * 500, is_similar)
    assert stream.stamps == [1000, 1500, 2000]
    for number in range(5, 9):
        stream.add(number * 500, False)
    assert stream.stamps == [1000, 1500, 2000, 2500, 3000, 3500, 4000]
    assert [frame.type for frame in stream.clip.frames] == [
        INTERMEDIATE,
        INTERMEDIATE,
        KEY,
        *3 * [INTERMEDIATE],
        KEY,
    ]


def test_what_no_caption_has_covered_is_kept_and_the_last_frame_covered_with_it() -> None:
    stream = Stream()
    for number in range(4):
        stream.add(number * 500, number > 0)
    stream.begin()
    stream.end()
    for number in range(4, 9):
        stream.add(number * 500)
    assert stream.stamps[0] == 1500, 'the newest frame of the caption'
    assert len(stream.stamps) == 5, 'half of the frames at most, evenly, and the new one'


def test_where_one_frame_can_be_kept_it_is_the_one_that_the_last_caption_ended_with() -> None:
    stream = Stream(
        RestartLimits(max_frames=99, max_tokens=32, max_age_ns=30_000, span_ns=4_000, overlap=1)
    )
    stream.add(0, False)
    stream.begin()
    stream.end()
    for number in range(1, 6):
        stream.add(number * 500)
    assert stream.stamps == [0, 2500]


def test_frames_of_another_size_begin_a_clip_of_their_own() -> None:
    stream = Stream()
    stream.add(0, False)
    stream.add(500)
    assert stream.add(1000, image=LARGER) == [1000] and stream.clip.frames[0].type is KEY


def test_recent_frames_that_are_too_far_back_are_not_kept() -> None:
    stream = Stream(
        RestartLimits(max_frames=3, max_tokens=999, max_age_ns=30_000, span_ns=4_000, overlap=2)
    )
    for stamp_ns in (0, 500, 1000, 9000):
        stream.add(stamp_ns, stamp_ns > 0)
    assert stream.stamps == [9000]


limits = st.builds(
    RestartLimits,
    max_frames=st.integers(2, 12),
    max_tokens=st.integers(32, 200),
    max_age_ns=st.integers(2_000, 60_000),
    span_ns=st.integers(500, 8_000),
    overlap=st.integers(1, 6),
)
events = st.lists(
    st.tuples(
        st.sampled_from([500, 480, 520, 500, 1000, 3500]),
        st.sampled_from([False, True, True]),
        st.sampled_from(['', '', '', 'begin', 'end', 'fail', 'caption']),
    ),
    min_size=1,
    max_size=120,
)


@given(limits, events)
def test_limits_hold_and_a_clip_that_goes_on_shares_all_but_the_appended_frame(
    bounds: RestartLimits, stream_of: list[tuple[int, bool, str]]
) -> None:
    stream, types, now_ns = Stream(bounds), dict[int, FrameType](), 0
    for gap, is_similar, event in stream_of:
        before, now_ns = stream.clip.frames, now_ns + gap
        stamps = stream.add(now_ns, is_similar)
        after = stream.clip.frames
        assert stamps == sorted(set(stamps)) and stamps[-1] == now_ns
        assert (
            len(after) <= bounds.max_frames and tokens_of_frames(after, COSTS) <= bounds.max_tokens
        )
        is_appended = after[:-1] == before
        assert is_appended or (
            after[stream.clip.anchor].type is KEY and stream.clip.anchor == len(after) - 1
        )
        assert set(after[:-1]) <= set(before), 'a frame never changes its type'
        assert after[-1].stamp_ns - after[stream.clip.anchor].stamp_ns <= bounds.max_age_ns
        assert after[0].stamp_ns >= now_ns - 2 * bounds.max_age_ns
        for frame in after:
            assert types.setdefault(frame.stamp_ns, frame.type) is frame.type
        act(stream, event)


@given(limits, events)
@example(
    # The caption begins with the frame at 500 ns, which the clip keeps for it: its only other frame
    # is always the newest. When the caption has ended with the frame at 1000 ns, that one is gone,
    # and then the kept one becomes too old.
    RestartLimits(max_frames=2, max_tokens=32, max_age_ns=5000, span_ns=500, overlap=1),
    [
        (500, False, ''),
        (500, False, 'begin'),
        (3500, False, ''),
        (500, False, ''),
        (500, False, 'end'),
        (500, False, 'caption'),
    ],
)
def test_consecutive_captions_touch_unless_the_frame_between_them_is_too_old(
    bounds: RestartLimits, stream_of: list[tuple[int, bool, str]]
) -> None:
    stream, now_ns = Stream(bounds), 0
    for gap, is_similar, event in stream_of:
        now_ns += gap
        stream.add(now_ns, is_similar)
        act(stream, event)
    assert all(age_ns > bounds.max_age_ns for age_ns in stream.lost.values())
    for (_, earlier_end, earlier_index), (later_start, _, later_index) in zip(
        stream.captions, stream.captions[1:], strict=False
    ):
        assert later_start <= earlier_end or any(
            earlier_index <= index < later_index for index in stream.lost
        )


@given(
    limits, st.lists(st.sampled_from([500, 470, 1500]), min_size=20, max_size=80), st.integers(1, 6)
)
def test_without_a_limit_in_reach_a_still_scene_is_never_restarted(
    bounds: RestartLimits, gaps: list[int], every: int
) -> None:
    wide = RestartLimits(len(gaps) + 1, 10_000, 10**9, bounds.span_ns, bounds.overlap)
    stream, now_ns = Stream(wide), 0
    for number, gap in enumerate(gaps):
        now_ns += gap
        stream.add(now_ns, number > 0)
        if number % every == 0:
            stream.begin()
            stream.end()
    assert len(stream.stamps) == len(gaps) and stream.clip.anchor == 0


def act(stream: Stream, event: str) -> None:
    if event in ('begin', 'caption'):
        stream.begin()
    if event not in ('', 'begin'):
        stream.end(is_made=event != 'fail')


def test_frames_are_compared_by_identity() -> None:
    frame = Frame(0, IMAGE)
    assert TypedFrame(frame, KEY) != TypedFrame(frame, KEY)


@given(
    st.lists(st.sampled_from([500, 480, 1000, 2500]), min_size=1, max_size=60),
    st.integers(1, 10),
    st.integers(1, 9000),
)
def test_a_sliding_window_holds_the_newest_frames_within_its_span_and_loses_only_the_oldest(
    gaps: list[int], most: int, span_ns: int
) -> None:
    window: tuple[TypedFrame, ...] = ()
    stamps: list[int] = []
    for gap in gaps:
        stamps.append((stamps[-1] if stamps else 0) + gap)
        before, window = window, slide(window, Frame(stamps[-1], IMAGE), most, span_ns)
        assert [frame.stamp_ns for frame in window] == [
            ns for ns in stamps if ns > stamps[-1] - span_ns
        ][-most:]
        assert window[:-1] == before[len(before) - len(window) + 1 :], 'the very same frames'


def test_frames_of_another_size_begin_a_sliding_window_of_their_own() -> None:
    window = slide(slide((), Frame(0, IMAGE), 8, 4000), Frame(500, LARGER), 8, 4000)
    assert [frame.stamp_ns for frame in window] == [500]
