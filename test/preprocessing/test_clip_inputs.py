# SPDX-License-Identifier: Apache-2.0
"""The front of the room: golden cases as a whole, clips, images, budgets and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden_cases import DIALOGUES, arrays_of, messages_of

from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import VisualConfig
from penguin_ros.errors import ImageShapeError, TokenCountMismatch, TooManyImages
from penguin_ros.frame import Clip, Frame, FrameType, Image
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.preprocessing.prompt import ImagePart, Message, TextPart, VideoPart

VISUAL = VisualConfig()
WHITE, BLUE = (255, 255, 255), (0, 0, 60)


def _image(color: tuple[int, int, int] = WHITE, height: int = 120, width: int = 160) -> Image:
    return np.full((height, width, 3), color, np.uint8)


def _clip(images: list[Image], start_ns: int = 10**18, step_ns: int = 500_000_000) -> Clip:
    return Clip(
        'front',
        tuple(Frame(start_ns + step_ns * index, image) for index, image in enumerate(images)),
    )


def _preprocessor(checkpoint: Checkpoint, visual: VisualConfig = VISUAL) -> Preprocessor:
    return Preprocessor(checkpoint.shape, checkpoint.tokenizer, visual)


@pytest.mark.parametrize('name', DIALOGUES)
def test_inputs_equal_the_golden_ones(
    golden_dir: Path, golden_checkpoint: Checkpoint, name: str
) -> None:
    case = arrays_of(golden_dir, name)
    inputs = _preprocessor(golden_checkpoint).messages_inputs(
        *messages_of(name, case), max_tokens=int(case['max_tokens'])
    )
    assert inputs.prompt.text == str(case['prompt'])
    assert inputs.prompt.token_ids.tolist() == case['input_ids'][0].tolist()
    assert [[1, frame.rows, frame.columns] for frame in inputs.frames] == case.get(
        'grid_sizes', np.zeros((0, 3))
    ).tolist()
    assert inputs.visual_tokens == len(case.get('projected', ())) and not inputs.is_truncated
    if inputs.frames:
        pixels = np.concatenate([frame.pixels for frame in inputs.frames])
        assert np.abs(pixels - case['pixel_values']).max() <= 1e-6
    if 'frame_types' in case:
        assert [int(frame.type) for frame in inputs.frames] == case['frame_types'].tolist()


def test_a_clip_is_a_video_labelled_from_its_oldest_frame(checkpoint: Checkpoint) -> None:
    inputs = _preprocessor(checkpoint).clip_inputs(
        _clip([_image(), _image(), _image(BLUE)]), 'What now?'
    )
    assert inputs.prompt.text.startswith(
        '<|im_start|>user\nTime 0.0s:<image>,Time 0.5s:<image>,Time 1.0s:<image>\nWhat now?'
    )
    assert [frame.type for frame in inputs.frames] == [
        FrameType.KEY,
        FrameType.INTERMEDIATE,
        FrameType.KEY,
    ]
    assert {frame.merge_size for frame in inputs.frames} == {2} and inputs.frame_indices == (
        0,
        1,
        2,
    )


def test_one_frame_is_a_video_of_one_frame(checkpoint: Checkpoint) -> None:
    inputs = _preprocessor(checkpoint).clip_inputs(_clip([_image()]), '')
    assert inputs.prompt.text.startswith('<|im_start|>user\nTime 0.0s:<image>\n<|im_end|>')
    assert [frame.merge_size for frame in inputs.frames] == [2]


def test_frames_left_out_take_their_labels_with_them(checkpoint: Checkpoint) -> None:
    visual = replace(VISUAL, max_visual_tokens=100)  # four frames of 4 x 6 tokens
    inputs = _preprocessor(checkpoint, visual).clip_inputs(_clip([_image()] * 10), 'What?')
    assert (
        inputs.frame_indices == (0, 3, 6, 9) and inputs.is_truncated and inputs.visual_tokens <= 100
    )
    assert (
        'Time 0.0s:<image>,Time 1.5s:<image>,Time 3.0s:<image>,Time 4.5s:<image>\nWhat?'
        in inputs.prompt.text
    )


def test_single_images_keep_each_its_own_aspect(checkpoint: Checkpoint) -> None:
    images = [_image(WHITE, 140, 280), _image(BLUE, 280, 140)]
    inputs = _preprocessor(checkpoint).images_inputs(images, 'Which?')
    assert inputs.prompt.text.startswith('<|im_start|>user\n<image>\n<image>\nWhich?<|im_end|>')
    assert [(frame.rows, frame.columns, frame.merge_size) for frame in inputs.frames] == [
        (10, 20, 1),
        (20, 10, 1),
    ]


def test_a_budget_given_makes_images_share_the_size_of_the_first_as_the_reference_does(
    checkpoint: Checkpoint,
) -> None:
    images = [_image(WHITE, 140, 280), _image(BLUE, 280, 140)]
    inputs = _preprocessor(checkpoint).images_inputs(images, 'Which?', max_tokens=16384)
    assert [(frame.rows, frame.columns) for frame in inputs.frames] == [(10, 20), (10, 20)]


def test_a_budget_given_replaces_settings_and_thins_nothing(checkpoint: Checkpoint) -> None:
    preprocessor = _preprocessor(checkpoint, VisualConfig(policy='fixed', max_visual_tokens=16))
    inputs = preprocessor.clip_inputs(_clip([_image()] * 10), 'What?', max_tokens=100)
    assert (
        inputs.frame_indices == tuple(range(10))
        and inputs.visual_tokens == 240
        and not inputs.is_truncated
    )


def test_a_question_alone_has_no_frames(checkpoint: Checkpoint) -> None:
    inputs = _preprocessor(checkpoint).images_inputs((), 'Hello?')
    assert inputs.frames == () and inputs.visual_tokens == 0
    assert inputs.prompt.text.startswith(
        '<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n'
    )


def test_a_dialogue_may_hold_an_image_and_a_video(checkpoint: Checkpoint) -> None:
    messages = [
        Message('user', (ImagePart(), TextPart('This one?'))),
        Message('assistant', (TextPart('Yes.'),)),
        Message('user', (VideoPart(None, 2), TextPart('Here?'))),
    ]
    inputs = _preprocessor(checkpoint).messages_inputs(
        messages, [_image(), [_image(), _image(BLUE)]]
    )
    assert [frame.merge_size for frame in inputs.frames] == [1, 2, 2] and inputs.frame_indices == (
        0,
        0,
        1,
    )


@pytest.mark.parametrize(
    ('messages', 'images'),
    [
        ([Message('user', (ImagePart(),))], []),
        ([Message('user', (TextPart('?'),))], [_image()]),
        ([Message('user', (VideoPart(None, 2),))], [[_image()]]),
        ([Message('user', (ImagePart(), ImagePart()))], [_image()]),
    ],
)
def test_parts_without_their_images_are_refused(
    checkpoint: Checkpoint, messages: list[Message], images: list
) -> None:
    with pytest.raises(TokenCountMismatch):
        _preprocessor(checkpoint).messages_inputs(messages, images)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
    ],
)
def test_arrays_that_are_no_images_are_refused(checkpoint: Checkpoint, image: Image) -> None:
    with pytest.raises(ImageShapeError, match='no image'):
        _preprocessor(checkpoint).images_inputs([image], '?')


def test_a_clip_of_mixed_sizes_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ImageShapeError, match='differ in size'):
        _preprocessor(checkpoint).clip_inputs(_clip([_image(), _image(WHITE, 60, 80)]), '?')


def test_more_images_than_visual_tokens_are_refused(checkpoint: Checkpoint) -> None:
    preprocessor = _preprocessor(checkpoint, replace(VISUAL, max_visual_tokens=16))
    assert preprocessor.images_inputs([_image()] * 16, '?').visual_tokens == 16
    with pytest.raises(TooManyImages, match='17 images'):
        preprocessor.images_inputs([_image()] * 17, '?')


@settings(deadline=None, max_examples=40)
@given(
    st.text('wb', min_size=1, max_size=8),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.sampled_from(('reference', 'fixed')),
    st.integers(16, 600),
    st.text(max_size=40),
)
def test_whatever_comes_keeps_the_budget_and_counts_match(
    checkpoint: Checkpoint,
    pattern: str,
    size: tuple[int, int],
    policy: str,
    budget: int,
    question: str,
) -> None:
    clip = _clip([_image(WHITE if letter == 'w' else BLUE, *size) for letter in pattern])
    inputs = _preprocessor(
        checkpoint, VisualConfig(policy=policy, max_visual_tokens=budget)
    ).clip_inputs(clip, question)
    assert (
        inputs.visual_tokens
        == (inputs.prompt.token_ids == checkpoint.shape.image_token_id).sum()
        <= budget
    )
    assert inputs.frame_indices[-1] == len(pattern) - 1
    assert all(frame.pixels.shape == (frame.rows * frame.columns, 588) for frame in inputs.frames)
