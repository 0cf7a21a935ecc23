# SPDX-License-Identifier: Apache-2.0
"""Frames are encoded before anybody asks, and whoever asks goes first."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.live_pipeline import MS, TEXT, offsets
from support.live_window import LiveWindow

from penguin_ros.errors import BackendError


def test_frames_are_encoded_as_they_come_so_that_a_request_encodes_none(
    tiny_checkpoint: Path,
) -> None:
    with LiveWindow(tiny_checkpoint, precompute='encode') as live:
        for ms in (0, 500, 1000):
            live.scene(ms)
            live.wait_idle()
        assert live.steps.count('encode') == 3 and live.steps.count('prefill') == 0
        answer = live.answer()
        assert answer.text == TEXT and offsets(answer) == [0, 500, 1000]
        assert live.steps.count('encode') == 3 and answer.evidence.stats.reused_frames == 3
        assert live.pipeline.status().counts.precomputes_finished == 3


@pytest.mark.parametrize('slots', [1, 2])
def test_the_shared_part_of_the_prompt_is_precomputed_too_and_takes_no_slot_from_requests(
    tiny_checkpoint: Path, slots: int
) -> None:
    with LiveWindow(tiny_checkpoint, precompute='prefill', model__kv_slots=slots) as live:
        live.scene(0)
        live.wait_idle()
        live.scene(500)
        live.wait_idle()
        evidence = live.answer().evidence
        assert (
            evidence.stats.reused_tokens > evidence.stats.visual_tokens
            and evidence.stats.reused_frames == 2
        )
        live.gate.close('prefill')
        live.scene(1000)
        live.gate.wait_arrived()
        live.ask('question')
        caption = live.caption()
        live.gate.open()
        assert live.wait('question').text == live.wait(caption).text == TEXT


def test_nothing_is_precomputed_where_that_is_off_or_could_not_be_kept(
    tiny_checkpoint: Path,
) -> None:
    for values in (
        {'precompute': 'off'},
        {'precompute': 'encode', 'window': 'recent'},
        {'precompute': 'encode', 'model__prefix_caching': False},
    ):
        with LiveWindow(tiny_checkpoint, **values) as live:
            live.scene(0, 500)
            live.wait_idle()
            assert 'encode' not in live.steps and offsets(live.answer()) == [0, 500]


def test_a_question_preempts_the_precompute_and_goes_on_with_what_is_done(
    tiny_checkpoint: Path,
) -> None:
    with LiveWindow(tiny_checkpoint, precompute='encode') as live:
        live.gate.close('encode')
        live.scene(0)
        live.gate.wait_arrived()
        live.ask('question')
        live.scene(500)
        live.gate.open()
        assert live.wait('question').text == TEXT
        live.wait_idle()
        assert live.steps.count('encode') == 2, 'each frame once, whoever needed it first'


def test_while_one_frame_is_encoded_one_job_waits_and_takes_the_newest_frame(
    tiny_checkpoint: Path,
) -> None:
    with LiveWindow(tiny_checkpoint, precompute='encode') as live:
        live.in_step = lambda step: live.steady.turn(3000 * MS) if step == 'encode' else None
        for ms in (0, 500):
            live.scene(ms)
            live.wait_idle()
        live.gate.close('encode')
        live.scene(1000)
        live.gate.wait_arrived()
        live.scene(*range(1500, 4500, 500))
        live.gate.open()
        live.wait_idle()
        window = live.pipeline.status().windows['front']
        assert (window.taken, window.skipped) == (4, 5) and live.steps.count('encode') == 4
        counts = live.pipeline.status().counts
        assert (
            counts.precomputes_finished,
            counts.precomputes_replaced,
            counts.precomputes_dropped,
        ) == (4, 0, 0)
        assert offsets(live.answer()) == [0, 500, 1000, 4000]


@pytest.mark.parametrize('error', [BackendError('the device is lost'), ValueError('odd')])
def test_a_precompute_that_fails_is_counted_and_harms_no_request(
    tiny_checkpoint: Path, error: Exception
) -> None:
    def fail(step: str) -> None:
        if step == 'encode' and not live.answers:
            raise error

    with LiveWindow(tiny_checkpoint, precompute='encode') as live:
        live.in_step = fail
        live.scene(0)
        live.wait_idle()
        assert (
            live.pipeline.status().counts.precomputes_dropped == 1
            and live.pipeline.status().last_error is None
        )
        live.in_step = lambda step: None
        live.scene(500)
        assert live.answer().text == TEXT
        live.wait_idle()
        assert live.pipeline.status().counts.precomputes_finished == 1


def test_several_cameras_are_encoded_and_captioned_in_turn(tiny_checkpoint: Path) -> None:
    with LiveWindow(
        tiny_checkpoint, cameras=('front', 'rear', 'left'), precompute='encode'
    ) as live:
        order: list[str] = []
        live.frames(0)
        live.gate.close('decode')
        live.ask('question')
        live.gate.wait_arrived()
        for camera in ('front', 'rear', 'left'):
            live.scene(500, camera=camera, scene=len(camera))
        for _ in range(3):
            order += [live.caption(camera) for camera in ('front', 'front', 'left', 'rear')]
        live.gate.open()
        live.wait_idle()
        captioned = [
            live.answers[request_id][0].camera
            for request_id in live.ended
            if request_id in order and live.answers[request_id][0].error is None
        ]
        assert captioned == ['front', 'left', 'rear']
        live.steps.clear()
        for camera in ('rear', 'front'):
            live.scene(1000, camera=camera, scene=len(camera))
        live.wait_idle()
        assert live.steps == ['encode', 'encode']
