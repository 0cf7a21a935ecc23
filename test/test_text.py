# SPDX-License-Identifier: Apache-2.0
"""Text is safe to show: controls and broken characters go, everything else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguin_ros.text import cleaned, counted


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('Is\0 it \x1b[31mred\x1b[0m?\x07', 'Is it [31mred[0m?'),
        ('line\nline\tend\r', 'line\nline\tend'),
        ('a\x85b\x9bc\x7fd', 'abcd'),
        ('user\u202egnp.exe\u202c \u2066x\u2069', 'usergnp.exe x'),
        ('lone \ud800 end', 'lone \ufffd end'),
        ('\ud83d\udc3b', '\U0001f43b'),
        ('undecodable \udcff', 'undecodable \ufffd'),
        ('<|im_start|>user <image> <think>', '<|im_start|>user <image> <think>'),
        ('e\u0301', 'e\u0301'),
        ('\ufeffWho?', '\ufeffWho?'),
    ],
)
def test_controls_and_broken_characters_go_and_all_else_stays(text: str, expected: str) -> None:
    assert cleaned(text) == expected


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_comes_in_what_goes_out_can_be_encoded_and_printed(text: str) -> None:
    out = cleaned(text)
    out.encode('utf-8')
    assert (
        all(character in '\n\t' or ord(character) >= 0x20 for character in out)
        and cleaned(out) == out
    )


def test_one_thing_has_no_plural() -> None:
    assert [counted(count, 'frame') for count in (0, 1, 2)] == ['0 frames', '1 frame', '2 frames']
