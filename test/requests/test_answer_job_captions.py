# SPDX-License-Identifier: Apache-2.0
"""Captions run in the background: newest clip, one waiting per camera, behind every question."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.live_pipeline import SECOND, TEXT, LivePipeline, offsets

from penguin_ros.errors import (
    DeadlineExceeded,
    NoFrames,
    RequestReplaced,
    StaleFrames,
    UnknownCamera,
)
from penguin_ros.request import StopReason


def test_a_caption_describes_the_newest_clip_with_the_configured_prompt(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(
        tiny_checkpoint, caption__prompt='Describe it.', caption__max_tokens=3
    ) as live:
        live.frames(0, 500)
        caption = live.wait(live.caption())
        assert (caption.question, caption.camera, offsets(caption)) == (
            'Describe it.',
            'front',
            [0, 500],
        )
        assert (
            caption.evidence.stats.generated_tokens == 3
            and caption.evidence.stop_reason is StopReason.MAX_TOKENS
        )
        assert live.pipeline.status().counts.captions_finished == 1


def test_a_caption_without_frames_ends_in_that_error(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        assert isinstance(live.wait(live.caption()).error, NoFrames)
        with pytest.raises(UnknownCamera):
            live.caption('nowhere')


def test_a_question_interrupts_a_caption_which_then_goes_on_where_it_was(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.gate.close('decode')
        caption = live.caption()
        live.gate.wait_arrived()
        live.ask('question')
        live.gate.open()
        assert live.wait('question').text == live.wait(caption).text == TEXT
        # The caption was not prefilled again, the frame they share was encoded once, and the
        # question did not compute its tokens.
        assert live.steps.count('encode') == 1 and live.steps.count('prefill') == 2
        evidence = live.wait('question').evidence
        assert (
            evidence.stats.reused_tokens > evidence.stats.visual_tokens
            and evidence.stats.reused_frames == 1
        )
        counts = live.pipeline.status().counts
        assert (counts.captions_preempted, counts.captions_finished, counts.questions_finished) == (
            1,
            1,
            1,
        )


def test_with_one_slot_the_question_takes_it_and_the_caption_is_given_up(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint, model__kv_slots=1) as live:
        live.frames(0)
        live.gate.close('decode')
        caption = live.caption()
        live.gate.wait_arrived()
        live.ask('question')
        live.gate.open()
        assert live.wait('question').text == TEXT
        assert isinstance(live.wait(caption).error, RequestReplaced)


def test_a_waiting_caption_gives_way_to_a_newer_one_which_sees_the_newest_frames(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.gate.close('decode')
        live.ask('question')
        live.gate.wait_arrived()
        old, new = live.caption(), live.caption()
        live.frames(500)
        live.gate.open()
        assert isinstance(live.wait(old).error, RequestReplaced)
        assert offsets(live.wait(new)) == [0, 500]
        assert (
            live.pipeline.status().counts.captions_replaced == 1
            and live.pipeline.status().last_error is None
        )


def test_a_caption_that_is_preempted_too_long_is_cut_with_its_partial_text(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint, caption__deadline=10.0) as live:
        live.frames(0)
        live.gate.close('decode')
        caption = live.caption()
        live.gate.wait_arrived()
        live.ask('question')
        live.steady.turn(11 * SECOND)
        live.gate.open()
        ended = live.wait(caption)
        assert (
            isinstance(ended.error, DeadlineExceeded)
            and ended.evidence.stop_reason is StopReason.DEADLINE
            and ended.text
        )
        assert live.wait('question').text == TEXT


def test_a_caption_that_questions_keep_waiting_for_too_long_is_dropped_as_stale_and_counted(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint, caption__max_preemption=3.0) as live:
        live.frames(0)
        live.gate.close('decode')
        caption = live.caption()
        live.gate.wait_arrived()
        live.in_step = lambda step: (
            live.steady.turn(4 * SECOND) if step == 'prefill' else None
        )  # the question's
        live.ask('question')
        live.gate.open()
        assert live.wait('question').text == TEXT and isinstance(
            live.wait(caption).error, StaleFrames
        )
        counts = live.pipeline.status().counts
        assert (counts.captions_stale, counts.captions_dropped, counts.captions_preempted) == (
            1,
            1,
            1,
        )
        live.frames(500)
        assert live.wait(live.caption()).text == TEXT


def test_captions_of_two_cameras_take_turns(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, ('front', 'rear')) as live:
        live.frames(0)
        live.frames(100, camera='rear')
        live.gate.close('decode')
        live.ask('question')
        live.gate.wait_arrived()
        first, second = live.caption('rear'), live.caption('front')
        live.gate.open()
        live.wait(second)
        assert live.ended == ['question', first, second]
        assert (live.answers[first][0].camera, live.answers[second][0].camera) == ('rear', 'front')
