# SPDX-License-Identifier: Apache-2.0
"""Prompts become messages again; what is read must render to the very text it was read from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penguin_ros.evaluation.golden import GoldenCase, GoldenValuesError, messages_of
from penguin_ros.preprocessing.prompt import ImagePart, Message, TextPart, VideoPart, render

END = '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n'
IMAGE = np.zeros((28, 28, 3), np.uint8)


class CountingTokenizer:
    """Has enough of a tokenizer to render text."""

    def encode_text(self, text: str) -> list[int]:
        return [1] * len(text)

    def markup_id(self, token: str) -> int:
        return 2


def case(prompt: str, **values: Any) -> GoldenCase:
    return GoldenCase('one', {'prompt': np.array(prompt), **values})


def rendered(messages: list[Message], frames: int) -> str:
    return render(messages, CountingTokenizer(), [1] * frames, 3).text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    'body',
    [
        '<|im_start|>user\nWhat?',
        '<|im_start|>user\n',
        '<|im_start|>user\n\n\nWhat?\n',
        '<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n<image>\nWhat?',
        '<|im_start|>user\n<image>\nWhat is this?<|im_end|>\n'
        '<|im_start|>assistant\na desert<|im_end|>\n<|im_start|>user\nWhere?',
        '<|im_start|>user\n<image>\n<image>\nWhich is larger?',
        '<|im_start|>user\nLook: <image>\nand <image>\n',
        '<|im_start|>user\nTime 1.5s: <image>\nWhat?',
    ],
)
def test_prompts_with_pictures_survive_the_way_back(body: str) -> None:
    given = case(body + END, image=IMAGE)
    assert rendered(messages_of(given), body.count('<image>')) == body + END
    assert not any(
        isinstance(part, VideoPart) for message in messages_of(given) for part in message.parts
    )


def test_a_dialogue_becomes_one_message_per_turn() -> None:
    turns = (
        '<|im_start|>user\n<image>\nWhat?<|im_end|>\n'
        '<|im_start|>assistant\nSnow.<|im_end|>\n<|im_start|>user\nWhere?'
    )
    given = case(turns + END, image=IMAGE)
    assert messages_of(given) == [
        Message('user', (ImagePart(), TextPart('What?'))),
        Message('assistant', (TextPart('Snow.'),)),
        Message('user', (TextPart('Where?'),)),
    ]


def test_a_video_takes_the_timestamps_of_the_case_so_that_our_rounding_is_tested() -> None:
    given = case(
        '<|im_start|>user\nTime 0.2s:<image>,Time 0.8s:<image>\nWhat?' + END,
        frames=np.stack([IMAGE] * 2),
        timestamps=np.array([0.25, 0.75]),
    )
    assert messages_of(given) == [Message('user', (VideoPart((0.25, 0.75), 2), TextPart('What?')))]


def test_a_video_without_timestamps_takes_those_of_the_labels() -> None:
    given = case(
        '<|im_start|>user\nTime 0.2s:<image>,Time 12.0s:<image>\nWhat?' + END,
        frames=np.stack([IMAGE] * 2),
    )
    assert messages_of(given)[0].parts[0] == VideoPart((0.2, 12.0), 2)


@pytest.mark.parametrize('count', [1, 2, 5])
def test_a_video_without_labels_stays_without_even_when_timestamps_are_known(count: int) -> None:
    prompt = '<|im_start|>user\n' + ','.join(['<image>'] * count) + '\nWhat?' + END
    given = case(prompt, frames=np.stack([IMAGE] * count), timestamps=np.arange(count) * 1.0)
    assert messages_of(given)[0].parts[0] == VideoPart(None, count)
    assert rendered(messages_of(given), count) == prompt


def test_a_picture_and_a_video_in_one_prompt_are_told_apart() -> None:
    given = case(
        '<|im_start|>user\n<image>\nthen <image>,<image>\nWhat?' + END,
        image=IMAGE,
        frames=np.stack([IMAGE] * 2),
    )
    assert messages_of(given)[0].parts == (
        ImagePart(),
        TextPart('then '),
        VideoPart(None, 2),
        TextPart('What?'),
    )


@pytest.mark.parametrize(
    'prompt', ['', 'What?', END, '<|im_start|>user\nunfinished', 'x<|im_start|>user\nWhat?' + END]
)
def test_what_is_no_chat_markup_is_a_named_error(prompt: str) -> None:
    with pytest.raises(GoldenValuesError, match='no chat markup'):
        messages_of(case(prompt))
