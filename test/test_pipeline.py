# SPDX-License-Identifier: Apache-2.0
"""The front door opens, changes, reports and closes as it says, and whatever is asked ends in one
answer.
"""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.encoded_images import encoded
from support.live_pipeline import MS, START, TEXT, LivePipeline, offsets, past
from support.stepped_jobs import LIVENESS_SECONDS

from penguin_ros.errors import (
    BackendError,
    BackendUnavailable,
    CheckpointNotFound,
    Inactive,
    OutOfMemory,
    PenguinError,
    SettingError,
    UnknownCamera,
)
from penguin_ros.frame import Frame
from penguin_ros.request import NO_CAMERA
from penguin_ros.settings import with_values


def test_opening_reports_progress_and_the_facts_of_the_model(tiny_checkpoint: Path) -> None:
    live, lines = LivePipeline(tiny_checkpoint), list[str]()
    facts = live.pipeline.open(lines.append)
    assert len(lines) >= 3 and all(
        facts.name in line or str(tiny_checkpoint) in line for line in lines
    )
    assert (facts.backend, facts.device, facts.precision, facts.slots) == (
        'scripted',
        'cpu',
        'float32',
        4,
    )
    assert facts.source == str(tiny_checkpoint) and facts.max_length == live.config.model.max_length
    assert facts.weight_bytes == 4 * (facts.language_parameters + facts.vision_parameters) > 0
    assert live.pipeline.status().model == facts
    with pytest.raises(Inactive):
        live.ask()
    assert live.pipeline.close(LIVENESS_SECONDS) and live.steps == ['open', 'close']


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        LivePipeline(tmp_path / 'nothing').pipeline.open()
    empty = LivePipeline(tiny_checkpoint, model__checkpoint='')
    with pytest.raises(SettingError, match='checkpoint'):
        empty.pipeline.open()
    with pytest.raises(Inactive, match='neither model.bundle nor model.checkpoint is set'):
        empty.pipeline.activate()


@pytest.mark.parametrize('error', [BackendUnavailable('no CUDA device'), ValueError('odd')])
def test_a_backend_that_fails_to_open_is_named(tiny_checkpoint: Path, error: Exception) -> None:
    def fail(step: str) -> None:
        raise error

    live = LivePipeline(tiny_checkpoint)
    live.in_step = fail
    with pytest.raises(BackendError, match=str(error)):
        live.pipeline.open()
    assert live.logged == ([] if isinstance(error, PenguinError) else [error])


def test_closing_from_another_thread_interrupts_opening(tiny_checkpoint: Path) -> None:
    live = LivePipeline(tiny_checkpoint)
    live.gate.close('open')
    closed = threading.Thread(target=lambda: (live.gate.wait_arrived(), live.pipeline.close(0.01)))
    closed.start()
    with pytest.raises(Inactive):
        live.pipeline.open()
    closed.join(LIVENESS_SECONDS)
    live.gate.open()
    assert live.pipeline.close(LIVENESS_SECONDS) and live.steps == ['open', 'close']


def test_closing_before_the_weights_are_loaded_leaves_the_backend_unopened(
    tiny_checkpoint: Path,
) -> None:
    live = LivePipeline(tiny_checkpoint)
    with pytest.raises(Inactive):
        live.pipeline.open(lambda line: None if live.pipeline.close(0.01) else None)
    assert live.pipeline.close(LIVENESS_SECONDS) and live.steps == []


def test_ctrl_c_interrupts_opening_and_the_worker_stops_loading(tiny_checkpoint: Path) -> None:
    live = LivePipeline(tiny_checkpoint)
    live.gate.close('open')
    pressed = threading.Thread(
        target=lambda: (live.gate.wait_arrived(), signal.raise_signal(signal.SIGINT))
    )
    pressed.start()
    with pytest.raises(KeyboardInterrupt):
        live.pipeline.open()
    pressed.join(LIVENESS_SECONDS)
    live.gate.open()
    assert live.pipeline.close(LIVENESS_SECONDS) and live.steps == ['open', 'close']


def test_before_activation_and_after_closing_nothing_is_taken(tiny_checkpoint: Path) -> None:
    live = LivePipeline(tiny_checkpoint)
    for act in (live.pipeline.activate, live.ask, live.caption):
        with pytest.raises(Inactive):
            act()
    with live:
        live.frames(0)
        assert live.answer().text == TEXT
    with pytest.raises(Inactive):
        live.ask()
    assert live.pipeline.status().model is None


def test_activating_a_hundred_times_leaves_it_usable(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0)
        threads = threading.active_count()
        for _ in range(100):
            live.pipeline.deactivate()
            live.pipeline.activate()
        assert live.answer().text == TEXT and threading.active_count() == threads


def test_a_question_about_words_alone_is_answered_without_a_frame(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        answer = live.answer(camera=NO_CAMERA)
        assert (answer.text, answer.camera, answer.evidence.frames) == (TEXT, '', ())
        assert answer.evidence.stats.visual_tokens == 0
        assert answer.evidence.stats.prompt_tokens > 0


def test_live_settings_apply_to_the_next_request_and_others_are_refused(
    tiny_checkpoint: Path,
) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(0, 500, 1000)
        live.gate.close('decode')
        live.ask('running')
        live.gate.wait_arrived()
        live.ask('before')
        live.pipeline.configure(
            with_values(live.config, {'clip.max_frames': 1, 'question.max_tokens': 2})
        )
        live.ask('after')
        live.gate.open()
        assert (
            offsets(live.wait('before')) == [0, 500, 1000]
            and live.answers['before'][0].text == TEXT
        )
        assert (
            offsets(live.wait('after')) == [1000]
            and live.answers['after'][0].evidence.stats.generated_tokens == 2
        )
        with pytest.raises(SettingError, match='model.max_length, question.queue_length'):
            live.pipeline.configure(
                with_values(live.config, {'model.max_length': 100, 'question.queue_length': 3})
            )


def test_a_smaller_buffer_applies_at_once(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.frames(*range(0, 8001, 500))
        live.pipeline.configure(with_values(live.config, {'buffer.seconds': 4.0}))
        assert live.pipeline.status().cameras['front'].frames == 9


def test_large_frames_are_reduced_on_arrival(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, buffer__max_frame_pixels=5000) as live:
        live.frames(0, size=(100, 200))
        assert live.pipeline.status().cameras['front'].bytes == 3 * 50 * 100
        live.frames(500, size=(50, 100))
        assert live.pipeline.status().cameras['front'].size_changes == 0
        assert live.answer().error is None


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_what_is_no_image_is_dropped_and_counted(tiny_checkpoint: Path, image: Any) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        live.pipeline.add_frame(Frame(START, image, 'front'))
        status = live.pipeline.status().cameras['front']
        assert (status.frames, status.dropped) == (0, {'shape': 1})


def test_frames_of_an_unknown_camera_are_refused(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint) as live:
        with pytest.raises(UnknownCamera):
            live.frames(0, camera='nowhere')
        with pytest.raises(UnknownCamera):
            live.pipeline.count_drop('nowhere', 'corrupt')


def test_the_status_shows_cameras_queue_and_the_step_that_runs(tiny_checkpoint: Path) -> None:
    with LivePipeline(tiny_checkpoint, ('front', 'rear')) as live:
        live.frames(0, 500)
        live.gate.close('decode')
        live.ask('running')
        live.gate.wait_arrived()
        live.ask('waiting')
        live.caption()
        live.steady.turn(70)
        live.now.turn(30 * MS)
        status = live.pipeline.status()
        assert (
            status.counts.questions_running,
            status.counts.questions_waiting,
            status.counts.captions_waiting,
        ) == (1, 1, 1)
        assert status.worker.step_ns == 70
        front, rear = status.cameras['front'], status.cameras['rear']
        assert (front.frames, front.newest_ns, front.age_ns, rear.frames, rear.age_ns) == (
            2,
            START + 500 * MS,
            30 * MS,
            0,
            None,
        )


IMAGE = encoded(np.zeros((30, 30, 3), np.uint8))
OPERATIONS = st.lists(
    st.sampled_from(
        [
            'ask',
            'ask',
            'past',
            'picture',
            'caption',
            'cancel',
            'frame',
            'time',
            'flush',
            'deactivate',
            'activate',
            'break',
            'mend',
            'wait',
        ]
    ),
    min_size=5,
    max_size=30,
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(OPERATIONS, st.integers(0, 2**16))
def test_whatever_happens_each_request_that_was_taken_ends_in_one_answer(
    tiny_checkpoint: Path, operations: list[str], seed: int
) -> None:
    draw, taken = random.Random(seed), list[str]()
    with LivePipeline(tiny_checkpoint, ('front', 'rear'), question__queue_length=3) as live:

        def fail(step: str) -> None:
            if draw.random() < 0.05:
                raise OutOfMemory('full') if draw.random() < 0.5 else RuntimeError('odd')

        for number, operation in enumerate(operations):
            camera, milliseconds = draw.choice(['front', 'rear']), number * 500
            try:
                if operation == 'ask':
                    taken.append(
                        live.ask(f'q{number}', camera=camera, deadline_ns=draw.choice([0, 50]))
                    )
                elif operation == 'past':
                    taken.append(
                        live.ask(f'q{number}', camera=camera, interval=past(0, milliseconds))
                    )
                elif operation == 'picture':
                    taken.append(live.ask(f'q{number}', images=(IMAGE,)))
                elif operation == 'caption':
                    taken.append(live.caption(camera))
                elif operation == 'cancel' and taken:
                    live.pipeline.cancel(draw.choice(taken))
                elif operation == 'frame':
                    live.frames(milliseconds, camera=camera)
                elif operation == 'time':
                    live.steady.turn(60)
                elif operation == 'flush':
                    live.pipeline.flush('time jumped')
                elif operation in ('deactivate', 'activate'):
                    getattr(live.pipeline, operation)()
                elif operation in ('break', 'mend'):
                    live.in_step = fail if operation == 'break' else lambda step: None
                elif operation == 'wait' and taken:
                    live.wait(taken[-1])
            except PenguinError:
                pass
        live.in_step = lambda step: None
    assert all(len(live.answers[request_id]) == 1 for request_id in taken)
    assert sum(map(len, live.answers.values())) == len(taken)
    for answers in live.answers.values():
        assert answers[0].error is not None or answers[0].text == TEXT
