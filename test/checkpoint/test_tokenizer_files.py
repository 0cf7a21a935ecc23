# SPDX-License-Identifier: Apache-2.0
"""Whichever tokenizer files are published give the same tokens, and damaged ones are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.rewriting import copied, edited

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.tokenizer import PenguinTokenizer, added_token_ids
from penguin_ros.errors import CheckpointConfigError, CheckpointError, CheckpointNotFound

TEXT = "What's the 12th red box?\n\n  A polar bear: <image> 机器人 é\u0301!\r\n\tTime 0.5s:"


def test_vocabulary_and_merges_alone_give_the_same_tokens(golden_dir: Path, tmp_path: Path) -> None:
    folder = copied(golden_dir / 'checkpoint', tmp_path / 'c')
    whole = PenguinTokenizer(folder)
    (folder / 'tokenizer.json').unlink()
    parts = PenguinTokenizer(folder)
    assert parts.encode_text(TEXT) == whole.encode_text(TEXT)
    assert [parts.token_bytes(number) for number in range(448)] == [
        whole.token_bytes(number) for number in range(448)
    ]
    assert parts.markup_id('<image>') == 404
    assert open_checkpoint(folder).shape.stop_token_ids == (401, 402)


def test_one_list_of_added_tokens_is_enough(tiny_checkpoint: Path, folder: Path) -> None:
    expected = added_token_ids(tiny_checkpoint)
    (folder / 'added_tokens.json').unlink()
    edited(folder / 'tokenizer_config.json', lambda values: values.pop('added_tokens_decoder'))
    assert added_token_ids(folder) == expected
    assert expected['<image>'] == 572


def test_lists_of_added_tokens_that_contradict_each_other_are_refused(folder: Path) -> None:
    edited(folder / 'added_tokens.json', lambda values: values.__setitem__('<image>', 3))
    with pytest.raises(CheckpointConfigError, match='<image> has the id 3'):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    'absent', [('tokenizer.json', 'vocab.json'), ('tokenizer.json', 'merges.txt')]
)
def test_a_checkpoint_without_tokenizer_is_refused_on_opening(
    folder: Path, absent: tuple[str, ...]
) -> None:
    for name in absent:
        (folder / name).unlink()
    with pytest.raises(CheckpointNotFound, match='holds no tokenizer'):
        open_checkpoint(folder)


def change_model(key: str, value: object) -> Callable[[Any], None]:
    return lambda values: values['model'].__setitem__(key, value)


@pytest.mark.parametrize(
    'edit',
    [
        lambda values: values.pop('model'),
        lambda values: values.__setitem__('model', []),
        change_model('type', 'Unigram'),
        change_model('vocab', []),
        change_model('vocab', {}),
        change_model('vocab', {'a': 'b'}),
        change_model('merges', 'x'),
        change_model('merges', [['a']]),
        change_model('merges', [['zz', 'qq']]),
        change_model('merges', [3]),
        change_model('merges', [None]),
        change_model('merges', [[1, 2]]),
        lambda values: values['model']['vocab'].pop('a'),
        lambda values: values['model']['vocab'].__setitem__('€', 600),
        lambda values: values['model']['vocab'].__setitem__('a', None),
        lambda values: values['model']['vocab'].__setitem__('a', []),
        lambda values: values['model']['vocab'].__setitem__('a', 572),
        lambda values: values['model']['vocab'].__setitem__('\ud800', 601),
        lambda values: values.__setitem__('added_tokens', {}),
        lambda values: values.__setitem__('added_tokens', [3]),
        lambda values: values.__setitem__('added_tokens', [{'content': '', 'id': 1}]),
        lambda values: values.__setitem__('added_tokens', [{'content': '<image>', 'id': '1'}]),
        lambda values: values.__setitem__('added_tokens', [{'content': '<image>'}]),
        lambda values: values.__setitem__('pre_tokenizer', {'type': 'Nonsense'}),
        lambda values: values.__setitem__('normalizer', 5),
    ],
)
def test_a_damaged_tokenizer_is_named(folder: Path, edit: Callable[[Any], object]) -> None:
    edited(folder / 'tokenizer.json', edit)
    with pytest.raises(CheckpointError, match='tokenizer'):
        _ = open_checkpoint(folder).tokenizer.encode_text(TEXT)


@pytest.mark.parametrize(
    'name, content',
    [
        ('merges.txt', b'a b c\n'),
        ('merges.txt', b'\xff\xfe'),
        ('merges.txt', b'qq zz\n'),
        ('vocab.json', b'[]'),
        ('vocab.json', b'{"a": 1}'),
        ('vocab.json', b'{"a": {}}'),
    ],
)
def test_damaged_vocabulary_and_merges_are_named(folder: Path, name: str, content: bytes) -> None:
    (folder / 'tokenizer.json').unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointConfigError):
        PenguinTokenizer(folder)
