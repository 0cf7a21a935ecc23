# SPDX-License-Identifier: Apache-2.0
"""Tokens that cut characters anywhere come out as pieces of whole characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.text import without_controls


def pieces(tokens: list[bytes]) -> list[str]:
    stream = Detokenizer(tokens.__getitem__)
    return [stream.push(index) for index in range(len(tokens))] + [stream.finish()]


def cut(whole: bytes, borders: list[int]) -> list[bytes]:
    marks = [0, *sorted(border % (len(whole) + 1) for border in borders), len(whole)]
    return [whole[low:high] for low, high in zip(marks, marks[1:], strict=False)]


@given(st.lists(st.binary(max_size=6), max_size=12))
@example([b'\xed\xa0', b'\x80'])
@example([b'\xf0\x9f', b'\x90', b'\xa7\xf0\x9f'])
@example([b'\xc0\x80', b'\xf4\x90\x80\x80'])
def test_the_pieces_together_are_the_decoding_of_all_bytes(tokens: list[bytes]) -> None:
    whole = without_controls(b''.join(tokens).decode('utf-8', 'replace'))
    assert ''.join(pieces(tokens)) == whole.lstrip()


@given(st.text(max_size=30), st.lists(st.integers(0, 200), max_size=12))
@example('penguin 🐧 on ice ❄️ 氷', list(range(30)))
def test_no_piece_ends_inside_a_character_and_none_is_late(text: str, borders: list[int]) -> None:
    text = without_controls(text.encode('utf-8', 'ignore').decode())
    tokens = cut(text.encode(), borders)
    so_far = b''
    for token, piece in zip(tokens, pieces(tokens), strict=False):
        assert '\ufffd' not in piece or '\ufffd' in text
        so_far += token
        complete = so_far.decode('utf-8', 'ignore')  # all characters that are whole by now
        assert text.startswith(complete)
        assert piece == complete[len(complete) - len(piece) :]
    assert ''.join(pieces(tokens)) == text.lstrip()


def test_a_character_comes_with_the_token_that_completes_it() -> None:
    assert pieces([b'a\xf0', b'\x9f\x90', b'\xa7b']) == ['a', '', '🐧b', '']


def test_a_character_that_is_never_completed_is_replaced_at_the_end() -> None:
    assert pieces([b'ok \xe2\x82']) == ['ok ', '\ufffd']


def test_bytes_that_are_not_utf8_are_replaced_and_the_text_goes_on() -> None:
    assert ''.join(pieces([b'a\xff', b'b'])) == 'a\ufffdb'


@given(st.lists(st.binary(max_size=6), max_size=12))
def test_controls_nul_and_surrogates_never_come_out(tokens: list[bytes]) -> None:
    text = ''.join(pieces(tokens))
    assert not any(
        unicodedata.category(character) in ('Cc', 'Cs')
        for character in text.replace('\n', '').replace('\t', '')
    )


@pytest.mark.parametrize(
    'removed', ['\0', '\x07', '\x1b', '\r', '\x7f', '\x85', '\x9b', '\u202e', '\u2066', '\u2069']
)
def test_what_a_terminal_could_choke_on_is_removed(removed: str) -> None:
    assert ''.join(pieces([b'a', removed.encode(), b'b'])) == 'ab'


def test_line_breaks_tabs_and_marks_of_right_to_left_languages_stay() -> None:
    text = 'one\n\ttwo \u200fשלום\u200f é e\u0301 👩\u200d🚀'
    assert ''.join(pieces([text.encode()])) == text


@pytest.mark.parametrize(
    ('tokens', 'told'),
    [
        ([b' red', b' box'], ['red', ' box', '']),
        ([b' ', b'\n', b' red'], ['', '', 'red', '']),
        ([b'red ', b' box'], ['red ', ' box', '']),
        ([b'\xe3\x80', b'\x80red'], ['', 'red', '']),
        ([b' ', b' '], ['', '', '']),
    ],
)
def test_a_text_does_not_begin_with_the_space_of_its_first_word(
    tokens: list[bytes], told: list[str]
) -> None:
    assert pieces(tokens) == told


def test_markup_gives_no_text_and_does_not_cut_a_character() -> None:
    assert ''.join(pieces([b'\xc3', b'', b'\xa9'])) == 'é'
