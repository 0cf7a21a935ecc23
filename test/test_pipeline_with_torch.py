# SPDX-License-Identifier: Apache-2.0
"""The whole core on the real network: the reference's text through the front door, and a real
video.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.encoded_images import encoded

from penguin_ros.config import PenguinConfig
from penguin_ros.frame import NANOSECONDS, Frame, Image
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Request
from penguin_ros.settings import with_values
from penguin_ros.text import without_controls

LIVENESS_SECONDS = 120.0


class Now:
    """Camera time: that of the newest frame."""

    ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.fixture()
def now() -> Now:
    return Now()


@pytest.fixture()
def pipeline(golden_dir: Path, now: Now) -> Iterator[Pipeline]:
    pytest.importorskip('torch')
    config = with_values(
        PenguinConfig(),
        {
            'model.checkpoint': str(golden_dir / 'checkpoint'),
            'model.backend': 'torch',
            'model.device': 'cpu',
            'model.precision': 'float32',
            'model.threads': 1,
            'visual.max_visual_tokens': 160,
            'generation.max_repeats': 0,
            'question.deadline': LIVENESS_SECONDS,
            'caption.max_tokens': 40,
            'caption.deadline': LIVENESS_SECONDS,
        },
    )
    opened = Pipeline(config, ['front'], now_ns=now)
    facts = opened.open()
    assert (facts.backend, facts.device, facts.precision) == ('torch', 'cpu', 'float32')
    opened.activate()
    yield opened
    assert opened.close(LIVENESS_SECONDS)


def asked(pipeline: Pipeline, text: str, **facts: Any) -> Answer:
    answers: queue.Queue[Answer] = queue.Queue()
    pipeline.submit(Request('', text, **facts), answers.put)
    return answers.get(timeout=LIVENESS_SECONDS)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + LIVENESS_SECONDS, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.001)


def video_frames(path: Path, every: int, count: int) -> Iterator[Image]:
    cv2 = pytest.importorskip('cv2')
    capture = cv2.VideoCapture(str(path))
    for number in range(every * count):
        is_read, bgr = capture.read()
        assert is_read
        if number % every == 0:
            yield np.ascontiguousarray(bgr[:, :, ::-1])


def test_an_image_gets_the_references_text(pipeline: Pipeline, golden_dir: Path) -> None:
    case = np.load(golden_dir / 'cases' / 'image.npz')
    assert (
        case['generated_margins'].min() > 1e-3
    )  # else the reference's own choice would be within rounding
    answer = asked(
        pipeline,
        'Describe this image in detail.',
        images=(encoded(case['image']),),
        max_tokens=len(case['generated']),
    )
    assert answer.text == without_controls(str(case['generated_text']))
    assert answer.evidence.stats.prompt_tokens == case['input_ids'].size
    assert answer.evidence.stats.visual_tokens == len(case['projected'])
    assert answer.evidence.stats.generated_tokens == len(case['generated'])


def test_a_real_video_is_answered_the_same_whether_or_not_a_question_interrupts(
    pipeline: Pipeline, now: Now, video_path: Path
) -> None:
    stamps = []
    for number, image in enumerate(video_frames(video_path, every=12, count=5)):
        now.ns = 1_700_000_000 * NANOSECONDS + number * 480_000_000
        stamps.append(now.ns)
        pipeline.add_frame(Frame(now.ns, image, 'front', 'optical'))

    def captioned() -> queue.Queue[Answer]:
        captions: queue.Queue[Answer] = queue.Queue()
        pipeline.submit_caption('front', captions.put)
        return captions

    alone = captioned().get(timeout=LIVENESS_SECONDS)
    assert alone.error is None and alone.text and alone.evidence.stats.generated_tokens > 0
    assert [frame.stamp_ns for frame in alone.evidence.frames] == stamps
    assert (
        alone.evidence.stats.encode_ns > 0
        and alone.evidence.stats.prefill_ns > 0
        and alone.evidence.first_token_ns > 0
    )
    interrupted = captioned()
    wait_until(lambda: pipeline.status().counts.captions_running == 1)
    first = asked(pipeline, 'What is the bear doing?', max_tokens=20)
    assert interrupted.get(timeout=LIVENESS_SECONDS).text == alone.text
    assert pipeline.status().counts.captions_preempted == 1
    again = asked(pipeline, 'What is the bear doing?', max_tokens=20)
    assert (
        first.error is None
        and first.text == again.text
        and first.evidence.stats.visual_tokens <= 160
    )
