# SPDX-License-Identifier: Apache-2.0
"""Requests see the present through the window of their camera."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.live_pipeline import MS, START, offsets, past
from support.live_window import LiveWindow

from penguin_ros.errors import NoFrames, StaleFrames
from penguin_ros.frame import FrameType
from penguin_ros.settings import with_values


def test_a_question_sees_the_clip_of_the_caption_before_it_and_computes_nothing_of_it_again(
    tiny_checkpoint: Path,
) -> None:
    with LiveWindow(tiny_checkpoint) as live:
        live.scene(0, 500, 1000)
        caption = live.wait(live.caption())
        encoded = live.steps.count('encode')
        answer = live.answer()
        assert (
            offsets(caption) == offsets(answer) == [0, 500, 1000]
            and live.steps.count('encode') == encoded
        )
        assert answer.evidence.stats.reused_frames == 3
        assert (
            answer.evidence.stats.reused_tokens
            > answer.evidence.stats.visual_tokens
            == caption.evidence.stats.visual_tokens
        )


def test_an_appended_frame_costs_its_own_encode_and_its_own_tokens(tiny_checkpoint: Path) -> None:
    with LiveWindow(tiny_checkpoint) as live:
        live.scene(0, 500, 1000)
        before = live.wait(live.caption())
        encoded = live.steps.count('encode')
        live.scene(1500)
        after = live.wait(live.caption())
        assert offsets(after) == [0, 500, 1000, 1500] and live.steps.count('encode') == encoded + 1
        assert [frame.type for frame in after.evidence.frames] == [FrameType.KEY] + 3 * [
            FrameType.INTERMEDIATE
        ]
        assert (
            after.evidence.stats.reused_tokens > before.evidence.stats.visual_tokens
            and after.evidence.stats.reused_frames == 3
        )
        assert (after.evidence.start_ns, after.evidence.end_ns) == (START, START + 1500 * MS)


def test_in_a_sliding_window_only_the_new_frame_is_encoded(tiny_checkpoint: Path) -> None:
    with LiveWindow(tiny_checkpoint, window='sliding', clip__seconds=2.0) as live:
        live.scene(0, 500, 1000, 1500)
        assert offsets(live.wait(live.caption())) == [0, 500, 1000, 1500]
        encoded = live.steps.count('encode')
        live.scene(2000)
        answer = live.answer()
        assert (
            offsets(answer) == [500, 1000, 1500, 2000] and live.steps.count('encode') == encoded + 1
        )
        assert answer.evidence.stats.reused_frames == 3


def test_consecutive_captions_leave_nothing_out_between_them(tiny_checkpoint: Path) -> None:
    with LiveWindow(tiny_checkpoint, clip__max_frames=5) as live:
        spans, ms = [], 0
        for turn in range(6):
            live.scene(ms, ms + 500, ms + 1000, scene=turn // 2)
            spans.append(live.wait(live.caption()).evidence)
            ms += 1500
        for earlier, later in zip(spans, spans[1:], strict=False):
            assert later.start_ns <= earlier.end_ns < later.end_ns
        assert live.pipeline.status().windows['front'].restarts > 0


def test_a_clip_of_another_scene_begins_with_the_frame_that_the_last_caption_ended_with(
    tiny_checkpoint: Path,
) -> None:
    with LiveWindow(tiny_checkpoint, clip__overlap=1) as live:
        live.scene(0, 500, 1000)
        live.wait(live.caption())
        live.scene(1500)
        live.wait(live.caption())
        live.scene(2000)
        live.scene(2500, scene=1)
        assert offsets(live.wait(live.caption())) == [1500, 2000, 2500]


@pytest.mark.parametrize('every', [100, 10, 1])
def test_a_growing_window_computes_least_however_often_the_scene_changes(
    tiny_checkpoint: Path, every: int
) -> None:
    computed = {}
    for window in ('recent', 'sliding', 'growing'):
        with LiveWindow(
            tiny_checkpoint, window=window, visual__max_visual_tokens=256, caption__max_tokens=1
        ) as live:
            captions = []
            for number in range(32):
                live.scene(number * 500, scene=number // every, size=(280, 280))
                if number % 4 == 3:
                    captions.append(live.wait(live.caption()).evidence)
            computed[window] = sum(
                caption.stats.prompt_tokens - caption.stats.reused_tokens for caption in captions
            )
    assert computed['growing'] < computed['sliding'] * (0.7 if every > 1 else 1.02)
    assert computed['growing'] < computed['recent'] * (0.7 if every > 1 else 1.02)


def test_an_interval_of_the_past_is_not_seen_through_the_window(tiny_checkpoint: Path) -> None:
    with LiveWindow(tiny_checkpoint) as live:
        live.scene(0, 100, 500, 1000)
        assert offsets(live.answer(interval=past(100, 600))) == [100, 500]


def test_without_frames_or_with_old_ones_the_errors_are_the_same_in_every_window(
    tiny_checkpoint: Path,
) -> None:
    for window in ('recent', 'sliding', 'growing'):
        with LiveWindow(tiny_checkpoint, window=window) as live:
            assert isinstance(live.answer('none').error, NoFrames)
            live.scene(0)
            live.now.turn(6000 * MS)
            stale = live.answer('stale')
            assert isinstance(stale.error, StaleFrames) and stale.evidence.is_stale


def test_a_jump_of_time_and_a_pause_of_the_node_begin_a_new_window(tiny_checkpoint: Path) -> None:
    with LiveWindow(tiny_checkpoint) as live:
        live.scene(0, 500)
        assert offsets(live.answer('first')) == [0, 500]
        live.pipeline.flush('a bag loops')
        live.scene(600, 1100)
        assert offsets(live.answer('second')) == [600, 1100]
        live.pipeline.deactivate()
        live.scene(1600, 2100)
        live.pipeline.activate()
        live.scene(2600)
        assert offsets(live.answer('third'))[-1] == 2600


def test_the_window_may_change_while_the_node_runs(tiny_checkpoint: Path) -> None:
    with LiveWindow(tiny_checkpoint) as live:
        live.scene(0, 200, 500)
        for window, expected in [
            ('growing', [0, 500]),
            ('recent', [0, 500]),
            ('sliding', [0, 500]),
            ('growing', [0, 500]),
        ]:
            live.pipeline.configure(with_values(live.config, {'clip.window': window}))
            assert offsets(live.answer(window)) == expected
