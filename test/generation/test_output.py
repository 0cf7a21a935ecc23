# SPDX-License-Identifier: Apache-2.0
"""The text of a generation as it grows: pieces, half characters, stop tokens."""

from __future__ import annotations

import pytest

from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.request import StopReason

HEART = b'\xe2\x9d\xa4'


def output() -> GenerationOutput:
    """Token 0, 1 and 2 are the bytes of a heart, every other token is a letter."""
    return GenerationOutput(Detokenizer(lambda token: HEART[token : token + 1] or b'x'))


def test_the_pieces_together_are_the_text() -> None:
    text = output()
    pieces = [text.append(token, StopReason.NONE) for token in (5, 0, 1, 2, 6)]
    assert pieces == ['x', '', '', '\u2764', 'x'] and text.text == ''.join(pieces)
    assert text.token_ids == [5, 0, 1, 2, 6] and text.stats.generated_tokens == 5
    assert not text.is_complete


def test_a_stop_token_is_a_token_of_the_output_and_adds_nothing_to_the_text() -> None:
    text = output()
    assert [text.append(5, StopReason.NONE), text.append(6, StopReason.STOP_TOKEN)] == ['x', '']
    assert text.token_ids == [5, 6] and text.stats.generated_tokens == 1
    assert text.is_complete and text.stop_reason is StopReason.STOP_TOKEN


@pytest.mark.parametrize('reason', [StopReason.STOP_TOKEN, StopReason.MAX_TOKENS])
def test_half_a_character_comes_out_with_the_last_token(reason: StopReason) -> None:
    text = output()
    assert text.append(0, StopReason.NONE) == '' and text.append(1, reason) == '\ufffd'
