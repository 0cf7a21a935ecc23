# SPDX-License-Identifier: Apache-2.0
"""The window of a camera follows its buffer: new frames, jumps, restarts, other sizes, other
settings, too many frames.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stepped_jobs import FakeClock
from support.window_streams import MS, SECOND, frame, image, offsets, rules, taken

from penguin_ros.clip_buffer import ClipBuffer
from penguin_ros.config import BufferConfig
from penguin_ros.frame import Frame, FrameType, Image
from penguin_ros.preprocessing.frame_sizes import tokens_of
from penguin_ros.window.camera_window import CameraWindow
from penguin_ros.window.caption_gate import CaptionGate
from penguin_ros.window.window_rules import WindowRules


class Windowed:
    """A buffer and its window."""

    def __init__(self) -> None:
        self.steady = FakeClock()
        self.buffer = ClipBuffer('front', BufferConfig())
        self.window = CameraWindow(self.buffer, CaptionGate(), self.steady)

    def add(self, *milliseconds: int, scene: int = 0, size: tuple[int, int] = (56, 84)) -> None:
        for ms in milliseconds:
            self.buffer.add(frame(ms, scene, size), ms * MS)

    def clip(self, by: WindowRules) -> list[int]:
        return offsets(taken(self.window, by))


@pytest.mark.parametrize('policy', ['growing', 'sliding'])
def test_the_same_frames_are_chosen_again_and_a_frame_between_two_of_the_grid_never(
    policy: str,
) -> None:
    camera, by = Windowed(), rules(clip__window=policy)
    camera.add(0, 200, 500, 700)
    assert camera.clip(by) == [0, 500]
    camera.add(900, 1000, 1100)
    assert camera.clip(by) == [0, 500, 900]
    assert camera.clip(by) == [0, 500, 900]


@pytest.mark.parametrize('policy', ['growing', 'sliding', 'recent'])
def test_a_shorter_clip_of_the_present_has_the_newest_frames_as_the_whole_one_has_them(
    policy: str,
) -> None:
    camera, by = Windowed(), rules(clip__window=policy)
    camera.add(0, 500, 1000, 1500, 2000)
    whole = taken(camera.window, by)
    short = camera.window.clip(by, 1500 * MS)
    assert offsets(whole) == [0, 500, 1000, 1500, 2000]
    assert offsets(short) == [1000, 1500, 2000]
    assert whole is not None and short is not None
    if whole.plan is not None:
        assert short.plan is not None
        assert (short.plan.types, short.plan.sizes) == (
            whole.plan.types[2:],
            whole.plan.sizes[2:],
        )
    assert offsets(camera.window.clip(by, 1)) == [2000], 'the newest frame is always in it'
    assert offsets(taken(camera.window, by)) == [0, 500, 1000, 1500, 2000]


def test_recent_is_the_newest_clip_of_the_buffer() -> None:
    camera, by = Windowed(), rules(clip__window='recent')
    camera.add(0, 200, 500, 700)
    window_clip = taken(camera.window, by)
    assert (
        offsets(window_clip) == [200, 700] and window_clip is not None and window_clip.plan is None
    )


def test_growing_types_follow_the_image_and_the_clip_restarts_with_another_scene() -> None:
    camera, by = Windowed(), rules()
    camera.add(0, 500, 1000)
    camera.add(1500, scene=1)
    camera.add(2000, scene=1)
    window_clip = taken(camera.window, by)
    assert window_clip is not None and window_clip.plan is not None
    assert offsets(window_clip) == [500, 1000, 1500, 2000]
    key, small = FrameType.KEY, FrameType.INTERMEDIATE
    assert window_clip.plan.types == (small, small, key, small)
    assert window_clip.plan.sizes[0] == window_clip.plan.sizes[1] == window_clip.plan.sizes[3]
    assert camera.window.status().restarts == 1


def test_an_anchor_that_a_limit_makes_is_what_later_frames_are_compared_with() -> None:
    camera, by = Windowed(), rules(clip__max_frames=3, clip__overlap=1)
    camera.add(0, 500, 1000)
    camera.clip(by)
    camera.add(1500, 2000)
    window_clip = taken(camera.window, by)
    assert window_clip is not None and window_clip.plan is not None
    assert [kind.name for kind in window_clip.plan.types] == ['INTERMEDIATE', 'KEY', 'INTERMEDIATE']


def test_what_changes_little_by_little_is_compared_with_the_newest_anchor() -> None:
    camera, by = Windowed(), rules(clip__max_frames=3, clip__overlap=1)
    for number, covered in enumerate(
        [0, 0, 0, 8, 16]
    ):  # of 200 patches: a twenty-fifth is alike, two are not
        camera.buffer.add(Frame(number * 500 * MS, _covered(covered), 'front'), number * 500 * MS)
        window_clip = taken(camera.window, by)
    assert window_clip is not None and window_clip.plan is not None
    assert offsets(window_clip) == [1000, 1500, 2000]
    assert [kind.name for kind in window_clip.plan.types] == ['INTERMEDIATE', 'KEY', 'INTERMEDIATE']


def _covered(patches: int) -> Image:
    changed = image(size=(140, 280))
    changed[:14, : 14 * patches] = 255 - changed[:14, : 14 * patches]
    return changed


def test_frames_are_kept_while_a_caption_is_made_however_often_the_clip_restarts() -> None:
    for has_jumped in (False, True):
        camera, by = Windowed(), rules(clip__max_frames=6)
        if has_jumped:
            camera.add(90_000)
            first = taken(camera.window, by)
            assert first is not None
            camera.window.note_caption_begun(first.clip.start_ns)
            camera.window.note_captioned(90_000 * MS)
            camera.buffer.flush('clock_jump')
        camera.add(0, 500, 1000)
        first = taken(camera.window, by)
        assert first is not None
        camera.window.note_caption_begun(first.clip.start_ns)
        for ms in range(1500, 9000, 500):
            camera.add(ms)
            camera.clip(by)
        camera.window.note_captioned(1000 * MS)
        assert camera.clip(by)[0] <= 1000 and camera.window.status().restarts > 2


@pytest.mark.parametrize(('budget', 'floor'), [(16, 16), (17, 1), (40, 16), (100, 16)])
def test_however_small_the_budget_a_clip_keeps_a_frame_when_it_restarts(
    budget: int, floor: int
) -> None:
    camera, by = (
        Windowed(),
        rules(visual__max_visual_tokens=budget, visual__min_visual_tokens=floor),
    )
    for ms in range(0, 6000, 500):
        camera.add(ms, scene=ms // 1000, size=(280, 280))
        window_clip = taken(camera.window, by)
        assert window_clip is not None and window_clip.plan is not None
        assert len(window_clip.clip.frames) >= min(2, ms // 500 + 1)
        assert sum(tokens_of(size, 28) for size in window_clip.plan.sizes) <= budget


def test_sliding_frames_have_one_size_whose_total_keeps_the_budget() -> None:
    camera, by = (
        Windowed(),
        rules(clip__window='sliding', visual__max_visual_tokens=100, clip__seconds=4.0),
    )
    camera.add(*range(0, 8000, 500), size=(480, 640))
    window_clip = taken(camera.window, by)
    assert window_clip is not None and window_clip.plan is not None
    assert len(set(window_clip.plan.sizes)) == 1 and len(window_clip.plan.sizes) == 8
    assert sum(tokens_of(size, 28) for size in window_clip.plan.sizes) <= 100


def test_a_flush_a_restart_of_the_camera_and_another_size_begin_a_new_window() -> None:
    camera, by = Windowed(), rules()
    camera.add(10_000, 10_500)
    assert camera.clip(by) == [10_000, 10_500]
    camera.buffer.flush('clock_jump')
    assert taken(camera.window, by) is None
    camera.add(20_000)
    assert camera.clip(by) == [20_000]
    camera.add(
        500, 1000, 1500, 2000
    )  # the stream restarted: the buffer believes it at the second or fourth
    assert max(camera.clip(by)) <= 2000
    camera.add(2500, size=(84, 56))
    assert camera.clip(by) == [2500]


def test_another_policy_begins_with_what_the_buffer_holds() -> None:
    camera = Windowed()
    camera.add(0, 500, 1000)
    assert camera.clip(rules(clip__window='recent')) == [0, 500, 1000]
    assert camera.clip(rules(clip__window='growing')) == [0, 500, 1000]
    assert camera.clip(rules(clip__window='sliding')) == [0, 500, 1000]


def test_tighter_settings_apply_to_the_next_clip() -> None:
    camera = Windowed()
    camera.add(*range(0, 4000, 500))
    assert len(camera.clip(rules())) == 8
    assert camera.clip(rules(clip__max_frames=2)) == [3000, 3500]


def test_two_that_take_at_the_same_time_share_the_frames() -> None:
    camera, by = Windowed(), rules()
    camera.add(0, 500, 1000)
    first = camera.window.take(by)
    next(first)
    camera.add(1500)
    assert camera.clip(by) == [0, 500, 1000, 1500]
    assert list(first) == [] and offsets(camera.window.clip(by)) == [0, 500, 1000, 1500]


def test_frames_from_before_a_clip_are_not_wanted_unless_a_caption_waits_for_them() -> None:
    camera, by = Windowed(), rules(clip__seconds=2.0)
    camera.add(0)
    window_clip = taken(camera.window, by)
    assert window_clip is not None
    camera.add(*range(500, 10_001, 500))
    assert camera.clip(by)[1:] == [8500, 9000, 9500, 10_000]
    assert camera.window.status().skipped == 0

    camera = Windowed()
    camera.add(0)
    window_clip = taken(camera.window, by)
    assert window_clip is not None
    camera.window.note_caption_begun(window_clip.clip.start_ns)
    camera.window.note_captioned(0)
    camera.add(*range(500, 5001, 500))
    assert camera.clip(by)[0] == 0, 'the caption has covered that one'


def test_no_more_frames_are_taken_than_could_have_been_encoded_meanwhile() -> None:
    camera, by = Windowed(), rules()
    camera.add(0)
    camera.clip(by)
    for cost in (90, 3, 12):  # libraries warm up, then a small frame and a large one
        camera.window.note_frame_cost(cost * SECOND)
    for start in (500, 3500):  # encoding takes three seconds, six frames arrive in that time
        camera.add(*range(start, start + 3000, 500))
        camera.steady.turn(3 * SECOND)
        camera.clip(by)
    assert offsets(camera.window.clip(by)) == [0, 3000, 6000]
    assert camera.window.status().skipped == 10 and camera.window.status().taken == 3
    camera.add(*range(6500, 9001, 500))
    camera.steady.turn(9 * SECOND)
    assert camera.clip(by) == [0, 3000, 6000, 6500, 8000, 9000], (
        'evenly, the newest always among them'
    )


def test_the_first_encode_alone_which_is_slow_skips_no_frames() -> None:
    camera, by = Windowed(), rules()
    camera.add(0)
    camera.clip(by)
    camera.window.note_frame_cost(90 * SECOND)
    camera.add(500, 1000, 1500)
    assert camera.clip(by) == [0, 500, 1000, 1500]


def test_any_thread_may_ask_what_is_due_while_frames_are_taken() -> None:
    camera, by, is_over = Windowed(), rules(), threading.Event()
    failures: list[BaseException] = []

    def guarded(act: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                while not is_over.is_set():
                    act()
            except BaseException as error:
                failures.append(error)

        return run

    threads = [
        threading.Thread(target=guarded(lambda: camera.window.is_due(0))),
        threading.Thread(target=guarded(camera.window.status)),
        threading.Thread(
            target=guarded(lambda: camera.buffer.flush() if random.random() < 0.01 else None)
        ),
    ]
    for thread in threads:
        thread.start()
    for number in range(150):
        camera.add(number * 500)
        window_clip = taken(camera.window, by)
        assert window_clip is None or len(window_clip.clip.frames) <= 8
    is_over.set()
    for thread in threads:
        thread.join(20)
    assert not failures


events = st.lists(
    st.one_of(
        st.tuples(
            st.just('frame'),
            st.sampled_from([33, 400, 500, 600, 4000]),
            st.sampled_from([0, 0, 0, 1]),
        ),
        st.tuples(
            st.sampled_from(['clip', 'back', 'flush', 'size', 'begin', 'told']),
            st.just(0),
            st.just(0),
        ),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(['growing', 'sliding', 'recent']), events)
def test_a_clip_is_of_one_stream_one_size_and_within_its_limits_whatever_happens(
    policy: str, happenings: list[tuple[str, int, int]]
) -> None:
    camera, by = (
        Windowed(),
        rules(clip__window=policy, clip__max_frames=5, visual__max_visual_tokens=60),
    )
    now, size, begun = 100_000, (56, 84), None
    for what, gap, scene in happenings:
        if what == 'frame':
            now += gap
            camera.add(now, scene=scene, size=size)
        elif what == 'back':
            now = max(0, now - 50_000)
            camera.buffer.flush('clock_jump')
        elif what == 'flush':
            camera.buffer.flush('flushed')
        elif what == 'size':
            size = size[::-1]
        elif what == 'told' and begun is not None:
            camera.window.note_captioned(begun)
        held = camera.buffer.span()
        window_clip = taken(camera.window, by)
        assert (window_clip is None) == (held is None)
        if window_clip is None or held is None:
            continue
        frames = window_clip.clip.frames
        stamps = [item.stamp_ns for item in frames]
        assert (
            stamps == sorted(set(stamps))
            and len(frames) <= 5
            and len({item.size for item in frames}) == 1
        )
        assert stamps[-1] <= held.end_ns
        if window_clip.plan is not None:
            assert sum(tokens_of(shape, 28) for shape in window_clip.plan.sizes) <= 60
        if what == 'begin':
            begun = window_clip.clip.end_ns
            camera.window.note_caption_begun(window_clip.clip.start_ns)
