# SPDX-License-Identifier: Apache-2.0
"""Header stamps that are not all they should be: every image is placed, and time rises."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bag_pictures import START, TENTH, seen, steady, tenths, write_pictures

from penguin_ros.media.bag import BagRecording
from penguin_ros.media.bag_clock import BagClock, Stamped

SECOND = 10**9


def placed(
    stamps_ns: list[int | None], bag_ns: list[int] | None = None
) -> tuple[list[int], BagClock]:
    """The times of messages, which are recorded at 10 Hz unless told otherwise."""
    times = bag_ns or [START + index * TENTH for index in range(len(stamps_ns))]
    messages = [Stamped(stamp, time) for stamp, time in zip(stamps_ns, times, strict=True)]
    clock = BagClock()
    following = [*messages[1:], None]
    return [clock.place(*pair) for pair in zip(messages, following, strict=True)], clock


def since_first(times: list[int]) -> list[float]:
    return [round((time - times[0]) / SECOND, 3) for time in times]


def test_stamps_that_go_on_as_time_does_are_taken_as_they_are() -> None:
    times, clock = placed([START + index * TENTH + index % 3 for index in range(30)])
    assert times == [START + index * TENTH + index % 3 for index in range(30)]
    assert not clock.odd and not clock.steps


def test_a_simulation_may_begin_at_zero_and_run_faster_than_the_bag() -> None:
    for pace in (1, 2, 30):
        times, clock = placed([index * TENTH * pace for index in range(20)])
        assert times == [index * TENTH * pace for index in range(20)] and not clock.odd


def test_a_stamp_that_was_never_set_takes_the_time_of_recording() -> None:
    first = [0, *steady(20)[1:]]
    assert placed(first)[0] == steady(20)
    middle = [*steady(20)[:9], 0, *steady(20)[10:]]
    assert placed(middle)[0] == steady(20)
    assert placed([0] * 20)[0] == steady(20) and placed([0] * 20)[1].odd == 20


@pytest.mark.parametrize('wild', [START + 3600 * SECOND, START - 3600 * SECOND, 7, START])
@pytest.mark.parametrize('place', [1, 9, 18])
def test_one_wild_stamp_costs_nothing(place: int, wild: int) -> None:
    stamps: list[int | None] = list(steady(20))
    stamps[place] = wild
    times, clock = placed(stamps)
    assert times == steady(20) and clock.odd == 1 and not clock.steps


@pytest.mark.parametrize('seconds', [-10, 10, -3600, 1_700_000])
def test_a_clock_that_is_set_is_bridged_and_told(seconds: int) -> None:
    stamps = [
        stamp + (seconds * SECOND if index >= 20 else 0) for index, stamp in enumerate(steady(80))
    ]
    times, clock = placed(list(stamps))
    assert since_first(times) == tenths(80) and not clock.odd
    assert [round(step / SECOND) for _, step in clock.steps] == [seconds]


def test_two_cameras_on_one_topic_give_all_their_images_in_the_order_of_recording() -> None:
    stamps = [stamp - (index % 2) * 100 * SECOND for index, stamp in enumerate(steady(40))]
    times, clock = placed(list(stamps))
    assert since_first(times) == tenths(40) and clock.odd == 20


def test_the_same_stamp_again_and_again_takes_the_time_of_recording() -> None:
    times, clock = placed([START] * 20)
    assert since_first(times) == tenths(20) and clock.odd == 19


def test_a_recorder_that_lagged_does_not_move_the_stamps() -> None:
    late = [START + index * TENTH + (5 * SECOND if 5 <= index < 50 else 0) for index in range(80)]
    times, clock = placed(list(steady(80)), sorted(late))
    assert times == steady(80) and not clock.odd and not clock.steps


def test_times_rise_whatever_the_stamps_and_the_bag_say() -> None:
    stamps = [5, 5, 3, 10**18, 2, None, 4, 0, 0, 10**18]
    times, _ = placed(stamps, [START] * len(stamps))
    assert all(later > earlier for earlier, later in zip(times, times[1:], strict=False))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_with_a_clock_that_was_set_is_seen_whole_and_says_when(
    tmp_path: Path, storage: str
) -> None:
    pytest.importorskip('rosbags')
    stamps = [stamp - (10 * SECOND if i >= 20 else 0) for i, stamp in enumerate(steady(80))]
    recording = BagRecording(write_pictures(tmp_path / 'bag', stamps, storage=storage))
    assert seen(recording) == (tenths(80), list(range(80)))
    assert 'set back by 10.000 s at 2.0 s' in recording.account.lines()[0]
    assert recording.account.is_seen_to_the_end
