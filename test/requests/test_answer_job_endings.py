# SPDX-License-Identifier: Apache-2.0
"""However a request ends, it ends in one answer, with the text there was, and its slot is free
again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.encoded_images import encoded
from support.live_pipeline import SECOND, TEXT, LivePipeline
from support.stepped_jobs import LIVENESS_SECONDS

from penguin_ros.errors import (
    BackendError,
    ClockJumped,
    DeadlineExceeded,
    Inactive,
    OutOfMemory,
    RequestCancelled,
)
from penguin_ros.frame import Image
from penguin_ros.preprocessing import frame_types
from penguin_ros.request import Answer, StopReason


def is_usable(live: LivePipeline) -> bool:
    """Every slot is free: as many requests as there are slots, and more, are answered."""
    live.in_step = lambda step: None
    return all(live.answer(f'after-{number}').text == TEXT for number in range(4))


@pytest.mark.parametrize('phase', ['encode', 'prefill', 'decode'])
def test_a_request_is_cancelled_in_any_phase_after_that_step(
    tiny_checkpoint: Path, phase: str
) -> None:
    with LivePipeline(tiny_checkpoint, model__prefill_chunk=16) as live:
        live.frames(0)
        live.gate.close(phase)
        live.ask()
        live.gate.wait_arrived()
        assert live.pipeline.cancel('q')
        live.gate.open()
        answer = live.wait('q')
        assert (
            isinstance(answer.error, RequestCancelled)
            and answer.evidence.stop_reason is StopReason.CANCELLED
        )
        assert live.steps[-1] == phase and not live.pipeline.cancel('q')
        assert TEXT.startswith(answer.text) and bool(answer.text) == (phase == 'decode')
        assert answer.text == (live.pieces['q'][-1].text if live.pieces['q'] else '')
        assert is_usable(live) and len(live.answers['q']) == 1


def test_a_request_is_cancelled_between_two_frames_of_its_preparation(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def cancelling(image: Image) -> frame_types.FrameSignature:
        seen.append(len(seen))
        assert live.pipeline.cancel('q') or len(seen) > 1
        return frame_signature(image)

    frame_signature = frame_types.frame_signature
    monkeypatch.setattr(frame_types, 'frame_signature', cancelling)
    with LivePipeline(tiny_checkpoint, clip__window='recent') as live:
        live.frames(0, 500, 1000, 1500)
        answer = live.answer()
        assert (
            isinstance(answer.error, RequestCancelled)
            and seen == [0]
            and 'encode' not in live.steps
        )
        assert len(answer.evidence.frames) == 4


def test_a_waiting_request_is_cancelled_without_having_been_started(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.gate.close('decode')
        live.ask('running')
        live.gate.wait_arrived()
        live.ask('waiting')
        assert live.pipeline.cancel('waiting')
        live.gate.open()
        answer = live.wait('waiting')
        assert isinstance(answer.error, RequestCancelled) and not answer.evidence.frames
        assert live.wait('running').text == TEXT


def test_the_deadline_returns_the_text_so_far(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.in_step = lambda step: live.steady.turn(SECOND if step == 'decode' else 0)
        answer = live.answer(deadline_ns=3 * SECOND)
        assert (
            isinstance(answer.error, DeadlineExceeded)
            and answer.evidence.stop_reason is StopReason.DEADLINE
        )
        assert answer.text and TEXT.startswith(answer.text) and answer.evidence.is_truncated
        assert answer.evidence.stats.generated_tokens == 4 and is_usable(live)


def test_the_default_deadline_applies_and_counts_from_receipt(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, question__deadline=2.0) as live:
        live.frames(0)
        live.gate.close('decode')
        live.ask('running')
        live.gate.wait_arrived()
        live.ask('waiting')
        live.steady.turn(2 * SECOND)
        live.gate.open()
        assert isinstance(live.wait('waiting').error, DeadlineExceeded)
        assert not live.answers['waiting'][0].text and live.wait('running').text


@pytest.mark.parametrize('phase', ['encode', 'prefill', 'decode'])
@pytest.mark.parametrize(
    'error', [OutOfMemory('the device is full'), RuntimeError('device-side assert')]
)
def test_a_failing_step_ends_that_request_alone(
    tiny_checkpoint: Path, phase: str, error: Exception
) -> None:
    def fail(step: str) -> None:
        if step == phase:
            raise error

    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.in_step = fail
        answer = live.answer()
        assert isinstance(
            answer.error, OutOfMemory if isinstance(error, OutOfMemory) else BackendError
        )
        assert live.logged == ([] if isinstance(error, OutOfMemory) else [error])
        assert live.pipeline.status().last_error is answer.error
        assert (
            answer.error.__traceback__ is None
        )  # it would keep the frames and the tensors of that step alive
        assert is_usable(live)


def test_a_flush_ends_what_looks_at_a_camera_and_spares_images(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500)
        live.gate.close('decode')
        live.ask('running')
        live.gate.wait_arrived()
        live.ask('picture', images=(encoded(np.zeros((40, 40, 3), np.uint8)),))
        live.pipeline.flush('the bag started again')
        live.gate.open()
        running = live.wait('running')
        assert (
            isinstance(running.error, ClockJumped)
            and 'the bag started again' in str(running.error)
            and running.text
        )
        assert live.wait('picture').text == TEXT
        status = live.pipeline.status().cameras['front']
        assert (status.frames, status.dropped) == (0, {'clock_jump': 2})
        live.frames(100)
        assert is_usable(live)


def test_deactivating_ends_everything_with_the_reason_and_activating_serves_again(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.gate.close('decode')
        live.ask('running')
        live.gate.wait_arrived()
        live.ask('waiting')
        caption = live.caption()
        assert live.pipeline.deactivate('going to sleep') is False
        live.gate.open()
        for request_id in ('running', 'waiting', caption):
            answer = live.wait(request_id)
            assert isinstance(answer.error, Inactive) and 'going to sleep' in str(answer.error)
        assert live.answers['running'][0].text
        with pytest.raises(Inactive):
            live.ask('refused')
        with pytest.raises(Inactive):
            live.caption()
        live.pipeline.activate()
        assert is_usable(live)


def test_deactivating_can_wait_until_the_last_answer_was_delivered(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        ids = [live.ask(f'q{number}') for number in range(5)]
        assert live.pipeline.deactivate('', LIVENESS_SECONDS)
        assert all(len(live.answers[request_id]) == 1 for request_id in ids)


def test_closing_during_a_step_that_hangs_delivers_the_partial_text_and_no_second_answer(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.gate.close('decode')
        live.ask()
        live.gate.wait_arrived()
        assert live.pipeline.close(0.01) is False
        answer = live.answers['q'][0]
        assert (
            isinstance(answer.error, Inactive) and answer.text == live.pieces['q'][-1].text != TEXT
        )
        live.gate.open()
        assert live.pipeline.close(LIVENESS_SECONDS)
        assert len(live.answers['q']) == 1 and live.pieces['q'][-1].text == answer.text
        assert live.steps[-1] == 'close'


def raising(answer: Answer) -> None:
    raise RuntimeError('listener')


@pytest.mark.parametrize(
    'fails', [lambda step: None, lambda step: (_ for _ in ()).throw(OutOfMemory('full'))]
)
def test_a_listener_to_answers_that_raises_is_counted_and_harms_nobody(
    tiny_checkpoint: Path, fails: Callable[[str], None]
) -> None:
    from penguin_ros.request import Request

    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.in_step = fails
        live.pipeline.submit(Request('bad', 'What?'), raising)
        live.answer('next')
        assert live.pipeline.status().callback_failures == 1 and len(live.logged) == 1
        assert is_usable(live)


def test_a_listener_to_pieces_that_raises_is_counted_once_and_the_answer_comes(
    tiny_checkpoint: Path,
) -> None:
    from penguin_ros.request import Request

    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        live.pipeline.submit(Request('q', 'What?'), live.take, lambda piece: raising(None))  # type: ignore[arg-type]
        assert live.wait('q').text == TEXT
        assert live.pipeline.status().callback_failures == 1 and len(live.logged) == 1
