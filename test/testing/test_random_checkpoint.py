# SPDX-License-Identifier: Apache-2.0
"""Random checkpoints: every variant opens, the same seed writes the same, and the text would be
words.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.tensor_names import EMBEDDING, HEAD, expected_shapes
from penguin_ros.errors import CheckpointError
from penguin_ros.testing import random_weights
from penguin_ros.testing.random_checkpoint import (
    DTYPES,
    ENCODER_CONFIGS,
    LAYOUTS,
    SHAPES,
    Variant,
    write_random_checkpoint,
)
from penguin_ros.testing.random_weights import RandomWeights

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('encoder_config', ENCODER_CONFIGS)
@pytest.mark.parametrize('shards, is_tied', [(1, True), (3, False)])
def test_every_variant_opens_with_the_same_numbers(
    tmp_path: Path, layout: str, dtype: str, encoder_config: str, shards: int, is_tied: bool
) -> None:
    folder = write_random_checkpoint(
        tmp_path / 'c', layout=layout, dtype=dtype, variant=Variant(encoder_config, shards, is_tied)
    )
    checkpoint = open_checkpoint(folder)
    shape, expected = checkpoint.shape, SHAPES['tiny']
    assert (shape.llm, shape.encoder, shape.processor, shape.is_tied) == (
        expected.llm,
        expected.encoder,
        expected.processor,
        is_tied,
    )
    assert checkpoint.tokenizer.markup_id('<image>') == shape.image_token_id
    assert {
        checkpoint.tokenizer.markup_id(token) for token in ('<|im_end|>', '<|endoftext|>')
    } == set(shape.stop_token_ids)
    assert len(list(folder.glob('*.safetensors'))) == shards


def test_the_published_file_set_is_there(tiny_checkpoint: Path, golden_dir: Path) -> None:
    weights = {
        'model.safetensors',
        'model-00001-of-00002.safetensors',
        'model-00002-of-00002.safetensors',
        'model.safetensors.index.json',
    }
    published, ours = (
        {path.relative_to(folder).as_posix() for path in folder.rglob('*')} - weights
        for folder in (golden_dir / 'checkpoint', tiny_checkpoint)
    )
    assert ours == published


def test_layouts_and_shards_hold_the_same_weights(tmp_path: Path, tiny_checkpoint: Path) -> None:
    other = open_checkpoint(
        write_random_checkpoint(tmp_path / 'c', layout='flat', variant=Variant(shards=4))
    ).tensors
    assert other.fingerprints() == open_checkpoint(tiny_checkpoint).tensors.fingerprints()


def test_the_seed_decides_the_weights(tmp_path: Path, tiny_checkpoint: Path) -> None:
    same, other = (
        open_checkpoint(write_random_checkpoint(tmp_path / str(seed), seed=seed)) for seed in (0, 1)
    )
    assert same.digest == open_checkpoint(tiny_checkpoint).digest
    assert not np.array_equal(
        same.tensors.read('llm.norm.weight'), other.tensors.read('llm.norm.weight')
    )


def test_only_whole_words_have_large_rows_in_the_head(tiny_checkpoint: Path) -> None:
    """Then greedy text is words, and an end of text is improbable."""
    checkpoint = open_checkpoint(tiny_checkpoint)
    sizes = np.linalg.norm(checkpoint.tensors.read('llm.lm_head.weight'), axis=1)
    spoken = np.flatnonzero(sizes > 0.1 * sizes.max())
    words = [checkpoint.tokenizer.decode([int(number)]) for number in spoken]
    assert len(words) > 40
    assert all(word.startswith(' ') and word.strip().isalpha() for word in words)
    assert not set(spoken.tolist()) & set(checkpoint.shape.stop_token_ids)


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(CheckpointError, match='is not empty'):
        write_random_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    assert open_checkpoint(write_random_checkpoint(tmp_path / 'empty')).name == 'empty'


def test_nothing_is_left_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'rename', refuse)
    with pytest.raises(CheckpointError, match='No space left'):
        write_random_checkpoint(tmp_path / 'c')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'options',
    [
        {'shape': 'huge'},
        {'layout': 'x'},
        {'dtype': 'int8'},
        {'variant': Variant('nowhere')},
        {'variant': Variant(shards=0)},
    ],
)
def test_unknown_choices_are_named(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match='known: '):
        write_random_checkpoint(tmp_path / 'c', **options)  # type: ignore[arg-type]


def test_the_tool_writes_one_and_refuses_to_write_over_it(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / 'tools' / 'random_checkpoint.py'),
        '--shape',
        'tiny',
        '--layout',
        'flat',
        '--dtype',
        'bfloat16',
        '--encoder-config',
        'inside',
        '--shards',
        '2',
        '--untied',
        '--seed',
        '3',
        str(tmp_path / 'c'),
    ]
    assert subprocess.run(command, timeout=60, capture_output=True, text=True).returncode == 0
    assert (
        json.loads((tmp_path / 'c' / 'config.json').read_text())['vision_encoder_config'][
            'hidden_size'
        ]
        == 48
    )
    assert open_checkpoint(tmp_path / 'c').tensors.dtype('llm.lm_head.weight') == 'BF16'
    again = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert again.returncode == 1
    assert 'is not empty' in again.stderr
    assert 'Traceback' not in again.stderr


@pytest.mark.parametrize('shape, billions', [('2b', 2.17), ('8b', 8.64)])
def test_the_large_shapes_have_as_many_parameters_as_the_published_models(
    shape: str, billions: float
) -> None:
    sizes = expected_shapes(SHAPES[shape])
    counted = sum(
        math.prod(size) for name, size in sizes.items() if name != HEAD or not SHAPES[shape].is_tied
    )
    assert counted / 1e9 == pytest.approx(billions, abs=0.02)


def test_a_tensor_read_in_pieces_is_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = RandomWeights(3, SHAPES['tiny'], [5, 300, 639])
    whole = {
        name: weights.tensor(name)
        for name in (EMBEDDING, 'llm.layers.1.mlp.up_proj.weight', 'encoder.norm.weight')
    }
    monkeypatch.setattr(random_weights, 'PIECE_ELEMENTS', 1000)
    for name, values in whole.items():
        pieces = list(weights.pieces(name))
        assert np.array_equal(np.concatenate(pieces), values)
        assert values.size <= 1000 or len(pieces) > 1
