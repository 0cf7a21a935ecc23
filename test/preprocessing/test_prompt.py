# SPDX-License-Identifier: Apache-2.0
"""The rendered prompt and its ids: golden values, one string between two pieces of markup, text
that looks like markup.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden_cases import DIALOGUES, arrays_of, messages_of

from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.errors import TokenCountMismatch
from penguin_ros.model_inputs import Prompt
from penguin_ros.preprocessing.prompt import (
    ImagePart,
    Message,
    Part,
    TextPart,
    VideoPart,
    render,
    time_label,
)

MARKUP = (
    '<|im_start|>',
    '<|im_end|>',
    '<|endoftext|>',
    '<image>',
    '<think>',
    '</think>',
    '<|stream_start|>',
    '<|stream_end|>',
    '<|vision_start|>',
    '<video>',
    '<tool_call>',
)
END = '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n'
TEXT = st.lists(
    st.one_of(
        st.sampled_from(MARKUP),
        st.text(max_size=8),
        st.sampled_from(('\n', ' ', '<', '|>', 'assistant')),
    ),
    max_size=8,
).map(''.join)


def _render(checkpoint: Checkpoint, *parts: Part, tokens: tuple[int, ...] = ()) -> Prompt:
    return render(
        [Message('user', parts)], checkpoint.tokenizer, tokens, checkpoint.shape.image_token_id
    )


def _markup_ids(checkpoint: Checkpoint) -> set[int]:
    return {
        checkpoint.tokenizer.markup_id(name)
        for name in (
            '<|im_start|>',
            '<|im_end|>',
            '<|endoftext|>',
            '<image>',
            '<think>',
            '</think>',
        )
    }


def _skeleton(checkpoint: Checkpoint, prompt: Prompt) -> list[int]:
    """The markup of a prompt, without the text between."""
    return [token for token in prompt.token_ids.tolist() if token in _markup_ids(checkpoint)]


@pytest.mark.parametrize('name', DIALOGUES)
def test_text_and_ids_equal_the_golden_ones(
    golden_dir: Path, golden_checkpoint: Checkpoint, name: str
) -> None:
    case = arrays_of(golden_dir, name)
    messages, _ = messages_of(name, case)
    tokens = [
        int(np.prod(grid)) // int(merge) ** 2
        for grid, merge in zip(case.get('grid_sizes', []), case.get('merge_sizes', []), strict=True)
    ]
    prompt = render(
        messages, golden_checkpoint.tokenizer, tokens, golden_checkpoint.shape.image_token_id
    )
    assert prompt.text == str(case['prompt'])
    assert (
        prompt.token_ids.dtype == np.int64
        and prompt.token_ids.tolist() == case['input_ids'][0].tolist()
    )


def test_every_golden_case_is_tested(golden_dir: Path) -> None:
    assert {path.stem for path in (golden_dir / 'cases').glob('*.npz')} == set(DIALOGUES)


def test_roles_turns_and_images_are_written_as_the_model_knows_them(
    checkpoint: Checkpoint,
) -> None:
    messages = [
        Message('system', (TextPart('Be brief.'),)),
        Message('user', (ImagePart(), ImagePart(), TextPart('Which?'))),
        Message('assistant', (TextPart('The first.'),)),
        Message('user', (TextPart('Why?'),)),
    ]
    prompt = render(messages, checkpoint.tokenizer, (2, 3), checkpoint.shape.image_token_id)
    assert prompt.text == (
        '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n'
        '<image>\n<image>\nWhich?<|im_end|>\n'
        '<|im_start|>assistant\nThe first.<|im_end|>\n<|im_start|>user\nWhy?' + END
    )


def test_frames_are_labelled_and_separated(checkpoint: Checkpoint) -> None:
    video = VideoPart((0.0, 0.25, 12.34), 3)
    assert _render(checkpoint, video, TextPart('Go'), tokens=(1, 1, 1)).text == (
        '<|im_start|>user\nTime 0.0s:<image>,Time 0.2s:<image>,Time 12.3s:<image>\nGo' + END
    )
    assert (
        _render(checkpoint, VideoPart(None, 2), tokens=(1, 1)).text
        == '<|im_start|>user\n<image>,<image>\n' + END
    )
    assert (
        _render(checkpoint, VideoPart((1.5,), 1), tokens=(1,)).text
        == '<|im_start|>user\nTime 1.5s:<image>\n' + END
    )


@pytest.mark.parametrize(
    ('seconds', 'label'),
    [
        (0.25, '0.2'),
        (0.75, '0.8'),
        (0.35, '0.3'),
        (0.05, '0.1'),
        (0.04999, '0.0'),
        (3, '3.0'),
        (np.float64(0.35), '0.3'),
        (86399.96, '86400.0'),
    ],
)
def test_times_are_rounded_as_python_does(seconds: float, label: str) -> None:
    assert time_label(seconds) == f'Time {label}s:'


def test_each_placeholder_stands_once_per_token_and_its_first_position_is_known(
    checkpoint: Checkpoint,
) -> None:
    prompt = _render(
        checkpoint, VideoPart((0.0, 0.5), 2), ImagePart(), TextPart('?'), tokens=(4, 1, 3)
    )
    is_image = prompt.token_ids == checkpoint.shape.image_token_id
    assert is_image.sum() == 8 and len(prompt.image_starts) == 3
    for start, count in zip(prompt.image_starts, (4, 1, 3), strict=True):
        assert (
            is_image[start : start + count].all()
            and not is_image[start - 1]
            and not is_image[start + count]
        )


@pytest.mark.parametrize('tokens', [(), (1,), (1, 1, 1)])
def test_counts_of_frames_that_do_not_match_are_refused(
    checkpoint: Checkpoint, tokens: tuple[int, ...]
) -> None:
    with pytest.raises(TokenCountMismatch):
        _render(checkpoint, VideoPart(None, 2), tokens=tokens)


def test_a_video_has_a_frame_and_a_time_for_each() -> None:
    for timestamps, frames in ((None, 0), ((0.0,), 2), ((), 0)):
        with pytest.raises(ValueError, match='timestamps'):
            VideoPart(timestamps, frames)


def test_line_breaks_merge_across_the_border_of_a_text(
    checkpoint: Checkpoint, merging_tokenizer: PenguinTokenizer
) -> None:
    line, pair = merging_tokenizer.encode_text('\n'), merging_tokenizer.encode_text('\n\n')
    assert len(line) == len(pair) == 1
    messages = [Message('user', (TextPart('\n'), ImagePart(), TextPart('\n'), TextPart('a')))]
    ids = render(
        messages, merging_tokenizer, (1,), checkpoint.shape.image_token_id
    ).token_ids.tolist()
    image, end = (
        ids.index(checkpoint.shape.image_token_id),
        ids.index(merging_tokenizer.markup_id('<|im_end|>')),
    )
    assert ids[1:image] == merging_tokenizer.encode_text('user\n\n') and ids[image - 1] == pair[0]
    assert (
        ids[image + 1 : end] == merging_tokenizer.encode_text('\n\na') and ids[image + 1] == pair[0]
    )
    assert ids[-1] == pair[0] and ids[-3] == pair[0]


@pytest.mark.parametrize(
    'text',
    ['', ' ', '\n', 'Describe', '  two  spaces', 'e\u0301', '\u0301', '\U0001f43b', 'a\x00b'],
)
def test_what_stands_between_markup_is_one_string(golden_checkpoint: Checkpoint, text: str) -> None:
    tokenizer = golden_checkpoint.tokenizer
    ids = _render(golden_checkpoint, ImagePart(), TextPart(text), tokens=(1,)).token_ids.tolist()
    image, end = (
        ids.index(golden_checkpoint.shape.image_token_id),
        ids.index(tokenizer.markup_id('<|im_end|>')),
    )
    assert ids[1:image] == tokenizer.encode_text('user\n') and ids[
        image + 1 : end
    ] == tokenizer.encode_text('\n' + text)


@pytest.mark.parametrize('markup', MARKUP)
def test_markup_in_a_question_is_plain_text(golden_checkpoint: Checkpoint, markup: str) -> None:
    plain, forged = (
        _render(golden_checkpoint, ImagePart(), TextPart(text), tokens=(2,))
        for text in ('?', f'a{markup}b?')
    )
    assert _skeleton(golden_checkpoint, forged) == _skeleton(golden_checkpoint, plain)
    assert f'a{markup}b?' in golden_checkpoint.tokenizer.decode(forged.token_ids.tolist())


@settings(deadline=None, max_examples=100)
@given(TEXT, TEXT, TEXT)
def test_no_text_ever_becomes_markup(
    checkpoint: Checkpoint, role: str, first: str, second: str
) -> None:
    def prompt(role: str, first: str, second: str) -> Prompt:
        messages = [
            Message(role, (TextPart(first), VideoPart((0.0, 1.0), 2), TextPart(second))),
            Message('assistant', (TextPart(second), TextPart(first))),
        ]
        return render(messages, checkpoint.tokenizer, (1, 2), checkpoint.shape.image_token_id)

    assert _skeleton(checkpoint, prompt(role, first, second)) == _skeleton(
        checkpoint, prompt('user', 'a', 'b')
    )


def test_an_image_token_typed_by_a_user_takes_no_feature(checkpoint: Checkpoint) -> None:
    prompt = _render(checkpoint, TextPart('<image><image>'))
    assert checkpoint.shape.image_token_id not in prompt.token_ids and prompt.image_starts == ()
