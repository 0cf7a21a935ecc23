# SPDX-License-Identifier: Apache-2.0
"""Tokens are those of the reference, text never becomes markup, and bytes are right for the
detokenizer.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rewriting import edited
from tokenizers import Tokenizer

from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.errors import CheckpointConfigError

MARKUP = ('<|im_start|>', '<|im_end|>', '<|endoftext|>', '<image>', '<think>', '</think>')
CASES = (
    'text',
    'image',
    'image_small',
    'dialogue',
    'video',
    'video_compressed',
    'video_floor',
    'video_still',
)
PIECES = [*MARKUP, '<', '|', '>', 'im_', 'start', '\n', '\n\n', ' ', 'the red box']
MIXED_TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text()), max_size=12).map(''.join)


@pytest.fixture(scope='module')
def tokenizer(tiny_checkpoint: Path) -> PenguinTokenizer:
    return PenguinTokenizer(tiny_checkpoint)


@pytest.fixture(scope='module')
def published(tiny_checkpoint: Path) -> Tokenizer:
    """The same file, read by the library."""
    return Tokenizer.from_file(str(tiny_checkpoint / 'tokenizer.json'))


@pytest.mark.parametrize('case', CASES)
def test_prompts_of_the_reference_give_its_token_ids(golden_dir: Path, case: str) -> None:
    tokenizer = PenguinTokenizer(golden_dir / 'checkpoint')
    with np.load(golden_dir / 'cases' / f'{case}.npz') as values:
        prompt, expected = str(values['prompt']), values['input_ids'][0].tolist()
    ids: list[int] = []
    for part in re.split('(' + '|'.join(map(re.escape, MARKUP)) + ')', prompt):
        ids += [tokenizer.markup_id(part)] if part in MARKUP else tokenizer.encode_text(part)
    image = tokenizer.markup_id('<image>')
    once = [
        number
        for index, number in enumerate(expected)
        if number != image or expected[index - 1] != image
    ]
    assert ids == once


@pytest.mark.parametrize('case', CASES)
def test_generated_text_of_the_reference_is_decoded_without_markup(
    golden_dir: Path, case: str
) -> None:
    tokenizer = PenguinTokenizer(golden_dir / 'checkpoint')
    with np.load(golden_dir / 'cases' / f'{case}.npz') as values:
        ids, text = values['generated'].tolist(), str(values['generated_text'])
    for token in ('<think>', '</think>'):  # the reference leaves these two in its text
        text = text.replace(token, '')
    assert tokenizer.decode(ids) == text


@given(MIXED_TEXT)
def test_text_never_becomes_markup_and_comes_back(tokenizer: PenguinTokenizer, text: str) -> None:
    ids = tokenizer.encode_text(text)
    assert not {tokenizer.markup_id(token) for token in MARKUP} & set(ids)
    assert tokenizer.decode(ids) == unicodedata.normalize('NFC', text)


@given(
    st.text().filter(
        lambda text: not any(token in unicodedata.normalize('NFC', text) for token in MARKUP)
    )
)
def test_ordinary_text_gives_the_ids_of_the_published_tokenizer(
    tokenizer: PenguinTokenizer, published: Tokenizer, text: str
) -> None:
    assert tokenizer.encode_text(text) == published.encode(text, add_special_tokens=False).ids


def test_the_published_tokenizer_would_take_text_for_markup(published: Tokenizer) -> None:
    """Otherwise the tests above would show nothing."""
    for token in MARKUP:
        assert published.encode(token, add_special_tokens=False).ids == [
            published.token_to_id(token)
        ]


def test_markup_that_merges_could_build_stays_text(folder: Path) -> None:
    """A vocabulary may have an added token as an ordinary one too, which merges can reach."""

    def add(values: dict[str, dict[str, object]]) -> None:
        vocabulary, merges = values['model']['vocab'], values['model']['merges']
        assert isinstance(vocabulary, dict)
        assert isinstance(merges, list)
        token = '<image>'
        for end in range(2, len(token) + 1):
            vocabulary.setdefault(token[:end], 569 + 3 if end == len(token) else 600 + end)
            merges.append([token[: end - 1], token[end - 1]])

    edited(folder / 'tokenizer.json', add)
    assert Tokenizer.from_file(str(folder / 'tokenizer.json')).token_to_id('<image>') == 572
    tokenizer = PenguinTokenizer(folder)
    ids = tokenizer.encode_text('a <image> b')
    assert tokenizer.markup_id('<image>') not in ids
    assert tokenizer.decode(ids) == 'a <image> b'


def test_two_parts_of_text_merge_only_when_encoded_together(tokenizer: PenguinTokenizer) -> None:
    assert tokenizer.encode_text('the red') != tokenizer.encode_text(
        'the r'
    ) + tokenizer.encode_text('ed')


@pytest.mark.parametrize(
    'text, expected',
    [
        ('\ud800', '\ufffd'),
        ('a\udfffb', 'a\ufffdb'),
        ('\ud83d\ude00', '\U0001f600'),
        ('', ''),
        ('\0\x1b[31m', '\0\x1b[31m'),
        ('e\u0301', '\u00e9'),
    ],
)
def test_unusual_text_is_encoded(tokenizer: PenguinTokenizer, text: str, expected: str) -> None:
    assert tokenizer.decode(tokenizer.encode_text(text)) == expected


def test_a_megabyte_of_text_is_encoded(tokenizer: PenguinTokenizer) -> None:
    text = 'the red box <|im_start|> ' * 40000
    assert tokenizer.decode(tokenizer.encode_text(text)) == text


def test_bytes_of_tokens_join_to_the_text(tokenizer: PenguinTokenizer) -> None:
    text = 'Bär 机器人 \U0001f43b'
    pieces = [tokenizer.token_bytes(number) for number in tokenizer.encode_text(text)]
    assert b''.join(pieces) == text.encode()
    assert any(
        len(piece.decode('utf-8', 'ignore').encode()) < len(piece) for piece in pieces
    )  # some split a character


def test_every_byte_is_a_token_of_its_own(
    tiny_checkpoint: Path, tokenizer: PenguinTokenizer
) -> None:
    single = {tokenizer.token_bytes(number) for number in range(569)}
    assert {bytes([byte]) for byte in range(256)} <= single


def test_markup_and_unknown_ids_have_no_bytes(tokenizer: PenguinTokenizer) -> None:
    ids = [tokenizer.markup_id(token) for token in MARKUP]
    assert [tokenizer.token_bytes(number) for number in (*ids, 639, 10**9, -1)] == [b''] * 9
    word = tokenizer.encode_text('box')
    assert tokenizer.decode([ids[1], *word, ids[2], 639]) == 'box'


def test_a_character_cut_in_two_becomes_a_replacement(tokenizer: PenguinTokenizer) -> None:
    ids = tokenizer.encode_text('\U0001f43b')
    assert len(ids) > 1
    assert tokenizer.decode(ids[:-1]) == '\ufffd'


def test_markup_that_the_checkpoint_lacks_is_named(tokenizer: PenguinTokenizer) -> None:
    with pytest.raises(CheckpointConfigError, match='has no <video>'):
        tokenizer.markup_id('<video>')
    with pytest.raises(CheckpointConfigError):
        tokenizer.markup_id('box')
