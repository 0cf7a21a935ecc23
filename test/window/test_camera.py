# SPDX-License-Identifier: Apache-2.0
"""A camera finds clips or says why there is none, repeats its last caption while nothing changes,
and lets one precompute wait.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.stepped_jobs import FakeClock
from support.window_streams import MS, SECOND, frame, offsets, rules

from penguin_ros.config import BufferConfig
from penguin_ros.errors import IntervalUnavailable, NoFrames, RequestCancelled, StaleFrames
from penguin_ros.request import Answer, Evidence, Interval
from penguin_ros.steps import run_to_end
from penguin_ros.window.camera import BegunCaption, Camera
from penguin_ros.window.camera_window import ChosenClip

QUESTION = 'What is there?'


class Clocked:
    """A camera and its clocks; frames come when their stamps say."""

    def __init__(self, **values: Any) -> None:
        self.rules = rules(clip__seconds=4.0, **values)
        self.config = self.rules.config
        self.now_ns = 0
        self.steady = FakeClock()
        self.camera = Camera('front', self.config, lambda: self.now_ns, self.steady)

    def add(self, *milliseconds: int, scene: int = 0, size: tuple[int, int] = (56, 84)) -> None:
        for ms in milliseconds:
            self.now_ns = ms * MS
            self.camera.add(frame(ms, scene, size))

    def find(self, interval: Interval | None = None) -> ChosenClip:
        return run_to_end(self.camera.find_clip(interval, self.rules))

    def begin(self, question: str = QUESTION) -> BegunCaption:
        return self.camera.begin_caption(question, self.find().clip, self.config.caption)

    def end(self, begun: BegunCaption, **facts: Any) -> Answer:
        answer = Answer('id', QUESTION, 'front', **{'text': '', **facts})
        return self.camera.end_caption(begun, answer, self.config.caption)


def test_the_present_is_the_clip_of_the_window_and_says_what_was_lost_in_it() -> None:
    clocked = Clocked()
    clocked.add(0, 500, 1000)
    clocked.camera.count_drop('corrupt')
    clocked.camera.count_drop('late', 500 * MS)
    clocked.camera.count_drop('late', -1)
    chosen = clocked.find()
    assert offsets(chosen) == [0, 500, 1000] and chosen.plan is not None
    assert (chosen.is_cut, chosen.is_stale, chosen.frames_dropped) == (False, False, 2)


def test_a_present_without_frames_or_with_old_ones_is_an_error() -> None:
    clocked = Clocked(watch__stale_after=2.0)
    with pytest.raises(NoFrames, match='camera front has no frames'):
        clocked.find()
    clocked.add(0)
    clocked.now_ns = 2 * SECOND
    assert offsets(clocked.find()) == [0]
    clocked.now_ns += 100 * MS
    with pytest.raises(StaleFrames, match='2.1 s old'):
        clocked.find()
    clocked.camera.flush('clock_jump')
    with pytest.raises(NoFrames):
        clocked.find()


def test_the_past_is_the_buffers_and_says_whether_it_was_cut_or_is_old() -> None:
    clocked = Clocked(watch__stale_after=2.0)
    clocked.add(0, 500, 1000)
    clocked.add(1500, size=(84, 56))
    cut, whole = clocked.find(Interval(0, 2 * SECOND)), clocked.find(Interval(0, SECOND))
    assert offsets(cut) == offsets(whole) == [0, 500, 1000] and cut.plan is None
    assert (cut.is_cut, cut.is_stale, whole.is_cut) == (True, False, False)
    clocked.now_ns = 4 * SECOND
    assert clocked.find(Interval(0, SECOND)).is_stale


def test_an_interval_without_frames_is_an_error_that_says_what_there_is() -> None:
    clocked = Clocked()
    clocked.now_ns = 4 * SECOND
    interval = Interval(2 * SECOND, 3 * SECOND)
    with pytest.raises(IntervalUnavailable, match='no frames at all'):
        clocked.camera.check_interval(interval)
    clocked.add(500, 1000)
    clocked.now_ns = 4 * SECOND
    for ask in (clocked.camera.check_interval, clocked.find):
        with pytest.raises(IntervalUnavailable, match='0.500 s to 1.000 s, .* 2.000 s to 3.000 s'):
            ask(interval)
    clocked.now_ns = 4 * SECOND
    clocked.camera.check_interval(Interval(0, SECOND))


@pytest.mark.parametrize('offset_s', [0, 37, -1_700_000_000, 86_400])
def test_an_interval_is_judged_by_the_clock_of_the_stamps(offset_s: int) -> None:
    clocked = Clocked()
    start_ns = 1_800_000_000 * SECOND
    first = (start_ns + offset_s * SECOND) // MS
    for number in range(5):
        clocked.now_ns = start_ns + number * SECOND
        clocked.camera.add(frame(first + 1000 * number))
    newest_ns = (first + 4000) * MS
    chosen = clocked.find(Interval(newest_ns - 2 * SECOND, newest_ns))
    assert chosen.clip.end_ns == newest_ns and not chosen.is_stale
    clocked.camera.check_interval(Interval(newest_ns, newest_ns + SECOND))
    with pytest.raises(IntervalUnavailable, match='in the future'):
        ahead_ns = max(newest_ns, clocked.now_ns) + 1001 * MS
        clocked.camera.check_interval(Interval(newest_ns, ahead_ns))


@pytest.mark.parametrize('behind_s', [6, 86_400, 1_700_000_000])
def test_frames_that_arrive_now_with_old_stamps_are_told_from_a_camera_that_stands(
    behind_s: int,
) -> None:
    clocked = Clocked()
    clocked.now_ns = 1_800_000_000 * SECOND
    clocked.camera.add(frame((clocked.now_ns - behind_s * SECOND) // MS))
    with pytest.raises(StaleFrames, match=f'{behind_s}.0 s old.*clocks differ.*use_sim_time'):
        clocked.find()
    clocked.now_ns += 10 * SECOND
    with pytest.raises(StaleFrames, match='Check that the camera runs'):
        clocked.find()


@pytest.mark.parametrize('error', [NoFrames, StaleFrames])
def test_a_refusal_repeats_what_is_known_of_the_camera(error: type[Exception]) -> None:
    clocked = Clocked()
    if error is StaleFrames:
        clocked.add(0)
        clocked.now_ns = 20 * SECOND
    clocked.camera.note_reason('its images are torn')
    with pytest.raises(error, match='its images are torn'):
        clocked.find()
    clocked.camera.note_reason('')
    with pytest.raises(error, match='none has arrived|watch.stale_after'):
        clocked.find()


def test_a_caption_is_repeated_while_nothing_changes_and_silent_until_the_heartbeat() -> None:
    clocked = Clocked(caption__gate=True, caption__period=1.0, caption__heartbeat=2.5)
    clocked.add(0, 500)
    told = Evidence(start_ns=0, end_ns=500 * MS, is_truncated=True)
    made = clocked.end(clocked.begin(), text='A wall.', evidence=told)
    assert made.text == 'A wall.' and not made.is_silent
    silent = []
    for ms in (1000, 2000, 3000):
        clocked.steady.turn(SECOND)
        clocked.add(ms, ms + 500)
        repeated = clocked.end(clocked.begin())
        assert repeated.text == 'A wall.' and repeated.evidence.is_truncated
        assert repeated.evidence.unchanged_since_ns == 500 * MS
        assert (repeated.evidence.start_ns, repeated.evidence.end_ns) == (0, (ms + 500) * MS)
        silent.append(repeated.is_silent)
    assert silent == [True, False, True]
    status = clocked.camera.window_status()
    assert (status.unchanged, status.repeated) == (3, 1)
    assert clocked.begin('Another question?').repeated is None
    clocked.add(4000, scene=1)
    assert clocked.begin().repeated is None


def test_a_repeated_caption_that_fails_is_passed_on_and_counts_for_nothing() -> None:
    clocked = Clocked(caption__gate=True)
    clocked.add(0)
    clocked.end(clocked.begin(), text='A wall.')
    clocked.add(500)
    begun, error = clocked.begin(), RequestCancelled('cancelled')
    assert begun.repeated is not None
    assert clocked.end(begun, error=error).error is error
    assert clocked.camera.window_status().unchanged == 0


def test_without_the_gate_every_caption_is_made() -> None:
    clocked = Clocked(caption__gate=False)
    clocked.add(0)
    clocked.end(clocked.begin(), text='A wall.')
    clocked.add(500)
    assert clocked.begin().repeated is None


def test_a_caption_keeps_frames_for_the_next_one_from_its_begin_on() -> None:
    clocked = Clocked(clip__max_frames=6)
    clocked.add(0, 500, 1000)
    begun = clocked.begin()
    for ms in range(1500, 9000, 500):
        clocked.add(ms)
        clocked.find()
    assert offsets(clocked.find())[0] <= 1000
    clocked.end(begun, text='A wall.')
    assert offsets(clocked.find())[0] <= 1000 and clocked.camera.window_status().restarts > 2


def test_one_precompute_waits_and_the_next_is_due_when_it_has_started() -> None:
    clocked = Clocked()
    camera = clocked.camera
    assert camera.claim_precompute(0, clocked.config)
    assert not camera.claim_precompute(500 * MS, clocked.config)
    camera.release_precompute()
    assert camera.claim_precompute(1000 * MS, clocked.config)
    camera.release_precompute()
    clocked.add(1000)
    clocked.find()
    assert not camera.claim_precompute(1100 * MS, clocked.config), 'it does not enter the window'
    assert camera.claim_precompute(1500 * MS, clocked.config)


@pytest.mark.parametrize(
    'values',
    [{'clip__precompute': 'off'}, {'clip__window': 'recent'}, {'model__prefix_caching': False}],
)
def test_no_precompute_is_due_where_it_is_off_or_its_features_cannot_be_kept(
    values: dict[str, Any],
) -> None:
    clocked = Clocked(**values)
    assert not clocked.camera.claim_precompute(0, clocked.config)


def test_a_window_that_was_forgotten_begins_with_what_the_buffer_holds() -> None:
    clocked = Clocked(buffer__seconds=10.0)
    clocked.add(0, 300, 500)
    assert offsets(clocked.find()) == [0, 500]
    clocked.camera.forget_window()
    clocked.camera.configure(
        replace(clocked.config, buffer=BufferConfig(seconds=4.0, max_bytes=30_000))
    )
    assert offsets(clocked.find()) == [300]
