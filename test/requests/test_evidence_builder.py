# SPDX-License-Identifier: Apache-2.0
"""The evidence names the frames that the model saw, its times, and why the text ended."""

from __future__ import annotations

import numpy as np
import pytest

from penguin_ros.errors import DeadlineExceeded, OutOfMemory, PenguinError, RequestCancelled
from penguin_ros.frame import Clip, Frame, FrameType
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.model_inputs import FramePatches, ModelInputs, Prompt
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.request import StopReason
from penguin_ros.requests.evidence_builder import EvidenceBuilder
from penguin_ros.window.camera_window import ChosenClip

MODEL = ModelDescription('tiny', 'ab', '/tiny', 'scripted', 'cpu', 'float32', 99, 2, 9, 1, 1, 8, 5)
IMAGE = np.zeros((28, 28, 3), np.uint8)
CLIP = Clip('front', tuple(Frame(stamp, IMAGE, 'front', 'optical') for stamp in (10, 20, 30)))
KEY, INTERMEDIATE = FrameType.KEY, FrameType.INTERMEDIATE


def builder() -> EvidenceBuilder:
    return EvidenceBuilder(1000, GenerationOutput(Detokenizer([b'a', b'b'])))


def inputs(*frames: tuple[int, FrameType], is_truncated: bool = False) -> ModelInputs:
    """One visual token per frame, each with its index in the clip and its type."""
    count = len(frames)
    prompt = Prompt('', np.full(count, 7, np.int64), tuple(range(count)))
    patches = tuple(
        FramePatches(np.zeros((1, 588), np.float32), 1, 1, 1, kind) for _, kind in frames
    )
    return ModelInputs(prompt, patches, 7, is_truncated, tuple(index for index, _ in frames))


def test_the_frames_looked_at_count_until_the_inputs_say_which_were_left_out() -> None:
    evidence = builder()
    evidence.note_clip(ChosenClip(CLIP, is_cut=True, is_stale=True, frames_dropped=4))
    before = evidence.evidence(MODEL, None, 1000)
    assert [frame.stamp_ns for frame in before.frames] == [10, 20, 30]
    assert (before.is_truncated, before.is_stale, before.frames_dropped) == (True, True, 4)
    evidence.note_inputs(inputs((0, KEY), (2, INTERMEDIATE)))
    after = evidence.evidence(MODEL, None, 1000)
    assert [(frame.stamp_ns, frame.type) for frame in after.frames] == [
        (10, KEY),
        (30, INTERMEDIATE),
    ]
    assert (after.start_ns, after.end_ns, after.is_truncated) == (10, 30, True)
    assert {(frame.camera, frame.frame_id) for frame in after.frames} == {('front', 'optical')}


def test_images_of_a_request_have_no_stamps_and_no_age() -> None:
    evidence = builder()
    evidence.note_inputs(inputs((0, KEY), (0, KEY), is_truncated=True))
    evidence.note_first_token(1500, 99)
    done = evidence.evidence(MODEL, None, 2000)
    assert [frame.stamp_ns for frame in done.frames] == [0, 0] and done.is_truncated
    assert (done.age_ns, done.first_token_ns) == (0, 500)


def test_times_count_from_receipt_and_the_age_is_that_of_the_newest_frame() -> None:
    evidence = builder()
    assert evidence.evidence(MODEL, None, 1700).wait_ns == 700, 'it has not been started'
    evidence.started_ns = 1300
    evidence.note_clip(ChosenClip(CLIP))
    evidence.note_first_token(1900, 45)
    done = evidence.evidence(MODEL, None, 5000)
    assert (done.wait_ns, done.first_token_ns, done.age_ns) == (300, 900, 15)
    assert (done.model_name, done.model_digest, done.backend, done.precision) == (
        'tiny',
        'ab',
        'scripted',
        'float32',
    )


@pytest.mark.parametrize(
    ('error', 'has_text', 'reason'),
    [
        (None, True, StopReason.STOP_TOKEN),
        (DeadlineExceeded('late'), False, StopReason.DEADLINE),
        (RequestCancelled('cancelled'), True, StopReason.CANCELLED),
        (OutOfMemory('full'), True, StopReason.ERROR),
        (OutOfMemory('full'), False, StopReason.NONE),
    ],
)
def test_why_the_text_ended_is_the_models_reason_or_that_of_the_error(
    error: PenguinError | None, has_text: bool, reason: StopReason
) -> None:
    evidence = builder()
    evidence.output.stop_reason = StopReason.STOP_TOKEN if error is None else StopReason.NONE
    evidence.output.token_ids += [0] * has_text
    done = evidence.evidence(MODEL, error, 2000)
    assert done.stop_reason is reason
    assert done.is_truncated == (
        reason in (StopReason.DEADLINE, StopReason.CANCELLED, StopReason.ERROR)
    )


def test_the_counts_are_a_copy_which_a_step_that_hangs_does_not_change_any_more() -> None:
    evidence = builder()
    evidence.output.stats.prompt_tokens = 5
    done = evidence.evidence(MODEL, None, 2000)
    evidence.output.stats.prompt_tokens = 6
    assert done.stats.prompt_tokens == 5
