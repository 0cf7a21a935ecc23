# SPDX-License-Identifier: Apache-2.0
"""The clip buffer keeps bounds and order, counts what it drops, and never mixes sizes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.clip_buffer import BufferStatus, ClipBuffer
from penguin_ros.config import BufferConfig, ClipConfig
from penguin_ros.frame import Clip, Frame
from penguin_ros.request import Interval

MS = 1_000_000
SECOND = 1000 * MS
START = 1_700_000_000 * SECOND


def frame(ms: int, size: tuple[int, int] = (4, 6), value: int = 0) -> Frame:
    return Frame(START + ms * MS, np.full((*size, 3), value, np.uint8), 'front', 'optical')


def buffer(**limits: Any) -> ClipBuffer:
    return ClipBuffer('front', BufferConfig(**{'seconds': 10.0, 'max_bytes': 1 << 20, **limits}))


def add(target: ClipBuffer, *milliseconds: int, size: tuple[int, int] = (4, 6)) -> None:
    for ms in milliseconds:
        target.add(frame(ms, size), START + ms * MS)


def status(target: ClipBuffer, ms: int = 0) -> BufferStatus:
    return target.status(START + ms * MS)


def offsets(clip: Clip | None) -> list[int]:
    assert clip is not None
    return [(item.stamp_ns - START) // MS for item in clip.frames]


def test_an_empty_buffer_has_no_clip_and_no_age() -> None:
    empty = buffer()
    assert empty.newest_clip(ClipConfig()) is None
    assert empty.interval_clip(Interval(0, 2 * START), ClipConfig()) is None
    assert empty.age_ns(START) is None


def test_frames_older_than_the_buffer_leave_and_are_counted_as_expired_not_as_dropped() -> None:
    kept = buffer(seconds=2.0)
    add(kept, *range(0, 5001, 500))
    assert (status(kept).frames, status(kept).expired, status(kept).dropped) == (5, 6, {})
    assert offsets(kept.interval_clip(Interval(0, 2 * START), ClipConfig(fps=100.0))) == [
        3000,
        3500,
        4000,
        4500,
        5000,
    ]


def test_the_byte_cap_drops_the_oldest_and_counts_them() -> None:
    kept = buffer(max_bytes=1024)  # 72 bytes a frame: 14 fit
    add(kept, *range(0, 2000, 100))
    assert (status(kept).frames, status(kept).bytes) == (14, 14 * 72)
    assert status(kept).dropped == {'bytes': 6}
    assert offsets(kept.newest_clip(ClipConfig(fps=100.0, max_frames=180)))[0] == 600


def test_a_frame_over_the_byte_cap_is_refused_and_the_others_stay() -> None:
    kept = buffer(max_bytes=1024)
    add(kept, 0)
    add(kept, 100, size=(100, 100))
    assert (status(kept).frames, status(kept).dropped) == (1, {'too_large': 1})


def test_a_view_of_a_larger_array_is_copied_so_that_the_byte_cap_counts_what_is_held() -> None:
    kept = buffer()
    large = np.zeros((1000, 1000, 3), np.uint8)
    kept.add(Frame(START, large[:4, :6], 'front'), START)
    clip = kept.newest_clip(ClipConfig())
    assert clip is not None and clip.frames[0].image.base is None and status(kept).bytes == 72


def test_late_and_duplicate_stamps_are_dropped_by_cause_and_never_reorder_the_clip() -> None:
    kept = buffer()
    add(kept, 0, 500, 1000, 700, 1000, 500, 1500)
    assert status(kept).dropped == {'late': 1, 'duplicate': 2}
    assert offsets(kept.newest_clip(ClipConfig())) == [0, 500, 1000, 1500]


def test_one_stamp_far_back_is_dropped_but_a_stream_far_back_restarts() -> None:
    kept = buffer(seconds=10.0)
    add(kept, 100_000, 100_500, 0, 101_000)
    assert status(kept).dropped == {'late': 1}
    add(kept, 20, 520, 1020)
    assert status(kept).dropped == {'late': 2, 'restarted': 3}
    assert offsets(kept.newest_clip(ClipConfig())) == [520, 1020]


def test_a_stream_that_loops_within_the_buffer_recovers_although_every_stamp_was_seen_before() -> (
    None
):
    kept = buffer(seconds=30.0)
    add(kept, *range(0, 5000, 500), *range(0, 5000, 500))
    assert status(kept).dropped == {'duplicate': 3, 'restarted': 10}
    assert offsets(kept.newest_clip(ClipConfig()))[-1] == 4500


def test_one_stamp_far_ahead_is_taken_as_skew_and_the_stream_recovers() -> None:
    kept = buffer(seconds=10.0)
    add(kept, 0, 500)
    kept.add(frame(3_600_000), START + 1000 * MS)
    assert status(kept).skewed == 1
    add(kept, 1500, 2000, 2500)
    assert offsets(kept.newest_clip(ClipConfig())) == [2000, 2500]


def test_a_stamp_within_the_tolerance_is_no_skew() -> None:
    kept = ClipBuffer('front', BufferConfig(), future_tolerance_ns=SECOND)
    kept.add(frame(1000), START)
    kept.add(frame(2001), START + 1000 * MS)
    assert status(kept).skewed == 1


@pytest.mark.parametrize('wild_ms', [3_000, 60_000, 86_400_000, 1_700_000_000_000])
@pytest.mark.parametrize('first', [0, 3, 20])
def test_one_wild_stamp_costs_itself_and_not_the_history(wild_ms: int, first: int) -> None:
    kept = buffer(seconds=30.0)
    before = [number * 250 for number in range(first)]
    after = [number * 250 for number in range(first + 1, first + 30)]
    for ms in before:
        kept.add(frame(ms), START + ms * MS)
    at_ms = first * 250
    kept.add(frame(at_ms + wild_ms), START + at_ms * MS)
    for ms in after:
        kept.add(frame(ms), START + ms * MS)
    held = kept.interval_clip(
        Interval(START, START + 30 * SECOND), ClipConfig(fps=240.0, max_frames=180)
    )
    assert held is not None
    lost = len(before) + len(after) - len(held.frames)
    assert lost <= 3 and (lost == 0 or first < 3 or wild_ms < 5000)
    assert held.end_ns == START + after[-1] * MS
    assert status(kept).dropped.get('restarted', 0) <= 1


@pytest.mark.parametrize('jump_ms', [5_000, 37_000, 86_400_000])
def test_a_clock_that_is_set_ahead_costs_one_frame(jump_ms: int) -> None:
    kept = buffer(seconds=3600.0)
    for number in range(20):
        ms = number * 500 + (jump_ms if number >= 10 else 0)
        assert bool(kept.add(frame(ms), START + number * 500 * MS)) is (number != 10)
    assert status(kept).dropped == {'wild': 1}


@pytest.mark.parametrize('pace', [1, 8, 600])
def test_slow_and_fast_streams_with_pauses_lose_nothing(pace: int) -> None:
    kept = buffer(seconds=86_400.0)
    for number in [*range(10), *range(40, 50)]:  # the camera paused, and the clock went on
        ms = number * pace * 1000
        assert kept.add(frame(ms), START + ms * MS)
    played_fast = buffer(seconds=86_400.0)
    for number in range(20):
        assert played_fast.add(frame(number * pace * 1000), START + number * 10 * MS)


def test_a_second_lap_begins_a_new_stream_and_says_so() -> None:
    kept = buffer(seconds=30.0)
    add(kept, *range(0, 10_000, 500))
    told = [kept.add(frame(ms), START + (10_000 + ms) * MS) for ms in range(0, 5000, 500)]
    assert [bool(each) for each in told] == [False] * 3 + [True] * 7
    assert [each.is_new_stream for each in told] == [False] * 3 + [True] + [False] * 6
    assert {each.cause for each in told[:3]} <= {'late', 'duplicate'}


def test_the_time_of_a_stream_goes_on_with_its_own_clock() -> None:
    kept = buffer()
    assert kept.stream_time_ns(START) == START and kept.since_arrival_ns(START) is None
    kept.add(frame(37_000), START)
    assert kept.stream_time_ns(START + 2 * SECOND) == START + 39 * SECOND
    assert kept.since_arrival_ns(START + 2 * SECOND) == 2 * SECOND


def test_the_age_of_a_frame_stamped_ahead_counts_from_its_arrival() -> None:
    kept = buffer()
    kept.add(frame(60_000), START)
    assert kept.age_ns(START + 7 * SECOND) == 7 * SECOND
    add(kept, 61_000)
    assert kept.age_ns(START + 63 * SECOND) == 2 * SECOND


def test_a_change_of_size_cuts_the_newest_clip() -> None:
    kept = buffer()
    add(kept, 0, 500, 1000)
    add(kept, 1500, 2000, size=(6, 4))
    assert offsets(kept.newest_clip(ClipConfig())) == [1500, 2000]
    assert status(kept).size_changes == 1
    add(kept, 2500)
    assert offsets(kept.newest_clip(ClipConfig())) == [2500]


def test_a_past_interval_gives_the_longest_run_of_one_size_and_says_that_it_was_cut() -> None:
    kept = buffer()
    add(kept, 0, 500, 1000)
    add(kept, 1500, 2000, size=(6, 4))
    whole, before = Interval(START, START + 2 * SECOND), Interval(START, START + SECOND)
    assert offsets(kept.interval_clip(whole, ClipConfig())) == [0, 500, 1000]
    assert not kept.has_one_size(whole) and kept.has_one_size(before)
    add(kept, 2500, size=(6, 4))
    assert offsets(kept.interval_clip(Interval(START, START + 3 * SECOND), ClipConfig())) == [
        1500,
        2000,
        2500,
    ]


def test_an_interval_includes_both_ends_and_outside_of_it_there_is_nothing() -> None:
    kept = buffer()
    add(kept, 0, 500, 1000, 1500)
    assert offsets(
        kept.interval_clip(Interval(START + 500 * MS, START + 1000 * MS), ClipConfig())
    ) == [500, 1000]
    assert kept.interval_clip(Interval(START + 501 * MS, START + 999 * MS), ClipConfig()) is None


def test_the_newest_clip_covers_less_than_its_seconds_and_keeps_the_rate() -> None:
    kept = buffer()
    add(kept, *range(0, 8001, 100))
    assert offsets(kept.newest_clip(ClipConfig(seconds=4.0, fps=2.0, max_frames=8))) == list(
        range(4500, 8001, 500)
    )


def test_jitter_of_the_camera_costs_no_frame() -> None:
    kept = buffer()
    add(kept, 33, 500, 967, 1500, 2033, 2500, 2967, 3500)
    assert len(offsets(kept.newest_clip(ClipConfig(seconds=4.0, fps=2.0)))) == 8


def test_more_frames_than_allowed_are_thinned_evenly_and_the_newest_stays() -> None:
    kept = buffer()
    add(kept, *range(0, 9001, 500))
    everything = Interval(START, START + 9 * SECOND)
    assert offsets(kept.interval_clip(everything, ClipConfig(max_frames=4))) == [
        0,
        3000,
        6000,
        9000,
    ]
    assert offsets(kept.interval_clip(everything, ClipConfig(max_frames=1))) == [9000]


def test_drops_are_found_by_the_stretch_in_which_they_fell() -> None:
    kept = buffer()
    add(kept, 0, 1000, 900)
    kept.count_drop('corrupt', START + 1500 * MS)
    assert kept.dropped_between(START, START + SECOND) == 1
    assert kept.dropped_between(START, START + 2 * SECOND) == 2
    assert status(kept).dropped == {'late': 1, 'corrupt': 1}


def test_a_flush_forgets_everything_and_counts_it() -> None:
    kept = buffer()
    add(kept, 0, 500)
    kept.flush('clock_jump')
    assert kept.newest_clip(ClipConfig()) is None
    assert (status(kept).bytes, status(kept).frames, status(kept).dropped) == (
        0,
        0,
        {'clock_jump': 2},
    )
    add(kept, 100)
    assert offsets(kept.newest_clip(ClipConfig())) == [100]


def test_tighter_bounds_apply_at_once() -> None:
    kept = buffer()
    add(kept, *range(0, 5001, 500))
    kept.configure(BufferConfig(seconds=1.0), SECOND)
    assert status(kept).frames == 3


def test_the_rate_counts_recent_arrivals_and_falls_to_zero_without_frames() -> None:
    kept = buffer()
    add(kept, *range(0, 3001, 500))
    assert status(kept, 3000).rate_hz == pytest.approx(2.0)
    assert status(kept, 20_000).rate_hz == 0.0


@given(
    st.lists(
        st.tuples(st.integers(0, 60_000), st.sampled_from([(4, 6), (6, 4), (2, 2)])), max_size=120
    ),
    st.integers(1, 12),
    st.floats(0.1, 40.0),
    st.floats(0.1, 30.0),
)
def test_whatever_arrives_the_bounds_hold_and_clips_are_rising_and_of_one_size(
    arrivals: list[tuple[int, tuple[int, int]]], max_frames: int, fps: float, seconds: float
) -> None:
    kept = buffer(max_bytes=1500, seconds=30.0)
    for ms, size in arrivals:
        kept.add(frame(ms, size), START + ms * MS)
        now = status(kept)
        assert now.bytes <= 1500 and now.received == now.frames + now.expired + sum(
            now.dropped.get(cause, 0) for cause in ('bytes', 'restarted', 'ahead')
        )
        clip = kept.newest_clip(ClipConfig(seconds=seconds, fps=fps, max_frames=max_frames))
        if clip is None:
            continue
        stamps = [item.stamp_ns for item in clip.frames]
        assert (
            stamps == sorted(set(stamps))
            and stamps[-1] == now.newest_ns
            and len(stamps) <= max_frames
        )
        assert len({item.size for item in clip.frames}) == 1
        assert stamps[-1] - stamps[0] < seconds * SECOND
    assert len(arrivals) == status(kept).received + sum(
        count
        for cause, count in status(kept).dropped.items()
        if cause not in ('bytes', 'restarted', 'ahead')
    )


def test_one_thread_may_add_while_another_reads() -> None:
    kept = buffer(seconds=1.0)
    done = threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                clip = kept.newest_clip(ClipConfig(seconds=1.0, fps=240.0, max_frames=180))
                assert clip is None or offsets(clip) == sorted(offsets(clip))
        except BaseException as error:  # handed to the main thread
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    add(kept, *range(0, 20_000, 5))
    done.set()
    reader.join(10.0)
    assert not errors and not reader.is_alive()
