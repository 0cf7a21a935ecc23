# SPDX-License-Identifier: Apache-2.0
"""Configuration values: each missing, mistyped or impossible one gives an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rewriting import with_value, without

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import CheckpointConfigError, CheckpointError, CheckpointNotFound

MODEL_KEYS = (
    'num_hidden_layers',
    'hidden_size',
    'intermediate_size',
    'num_attention_heads',
    'num_key_value_heads',
    'rope_theta',
    'rms_norm_eps',
    'vocab_size',
    'max_position_embeddings',
    'image_token_index',
)


@pytest.mark.parametrize('key', MODEL_KEYS)
def test_a_missing_key_is_named_with_its_file(folder: Path, key: str) -> None:
    without(folder / 'config.json', key)
    with pytest.raises(CheckpointConfigError, match=f'config.json has no {key}'):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    'file, key',
    [
        ('preprocessor_config.json', 'image_mean'),
        ('preprocessor_config.json', 'image_std'),
        ('preprocessor_config.json', 'rescale_factor'),
        ('preprocessor_config.json', 'min_tokens'),
        ('preprocessor_config.json', 'max_tokens'),
        ('preprocessor_config.json', 'patch_size'),
        ('processor_config.json', 'fps'),
        ('processor_config.json', 'max_frames'),
        ('processor_config.json', 'image_merge_size'),
        ('processor_config.json', 'video_merge_size'),
        ('penguin-encoder/config.json', 'rope_theta'),
    ],
)
def test_a_missing_key_of_the_other_files_is_named(folder: Path, file: str, key: str) -> None:
    without(folder / file, key)
    with pytest.raises(CheckpointConfigError, match=f'{file} has no {key}'):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    'value', ['64', None, [], {}, True, 0, -1, 1.5, 2**40, float('nan'), 10**400]
)
def test_a_number_of_the_wrong_kind_is_named(folder: Path, value: object) -> None:
    with_value(folder / 'config.json', 'hidden_size', value)
    with pytest.raises(CheckpointConfigError, match='hidden_size'):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    'file, key, value',
    [
        ('config.json', 'model_type', 'qwen3'),
        ('config.json', 'vision_projector_type', 'linear'),
        ('config.json', 'hidden_act', 'gelu'),
        ('config.json', 'attention_bias', True),
        ('config.json', 'use_sliding_window', True),
        ('config.json', 'rope_scaling', {'rope_type': 'yarn', 'factor': 4.0}),
        ('config.json', 'rope_theta', -1),
        ('config.json', 'rope_theta', 10**400),
        ('config.json', 'rms_norm_eps', float('inf')),
        ('config.json', 'image_token_index', 640),
        ('config.json', 'image_token_index', -1),
        ('config.json', 'eos_token_id', 'x'),
        ('config.json', 'eos_token_id', [700]),
        ('config.json', 'eos_token_id', {}),
        ('config.json', 'tie_word_embeddings', 'yes'),
        ('config.json', 'num_hidden_layers', 10**6),
        ('generation_config.json', 'eos_token_id', -3),
        ('preprocessor_config.json', 'image_mean', [0.5, 0.5]),
        ('preprocessor_config.json', 'image_std', [0.5, 0.5, 0]),
        ('preprocessor_config.json', 'image_mean', ['a', 'b', 'c']),
        ('preprocessor_config.json', 'resample', 2),
        ('preprocessor_config.json', 'min_tokens', 20000),
        ('preprocessor_config.json', 'patch_size', 16),
        ('preprocessor_config.json', 'rescale_factor', 0),
        ('processor_config.json', 'fps', 0),
        ('processor_config.json', 'video_merge_size', 0),
        ('penguin-encoder/config.json', 'num_channels', 1),
        ('penguin-encoder/config.json', 'hidden_act', 'relu'),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    folder: Path, file: str, key: str, value: object
) -> None:
    with_value(folder / file, key, value)
    with pytest.raises(CheckpointConfigError) as caught:
        open_checkpoint(folder)
    assert key in str(caught.value) or 'channels' in str(caught.value)


@pytest.mark.parametrize('file', ['config.json', 'penguin-encoder/config.json'])
def test_heads_that_cannot_share_key_value_heads_are_refused(folder: Path, file: str) -> None:
    with_value(folder / file, 'num_key_value_heads', 3)
    with pytest.raises(
        CheckpointConfigError, match='4 attention heads cannot share 3 key-value heads'
    ):
        open_checkpoint(folder)


@pytest.mark.parametrize('file', ['config.json', 'penguin-encoder/config.json'])
def test_an_odd_head_dim_is_refused(folder: Path, file: str) -> None:
    with_value(folder / file, 'head_dim', 15)
    with pytest.raises(CheckpointConfigError, match='head_dim 15 is odd'):
        open_checkpoint(folder)


def test_rope_theta_is_found_where_newer_libraries_write_it(folder: Path) -> None:
    for file in ('config.json', 'penguin-encoder/config.json'):
        without(folder / file, 'rope_theta')
        with_value(
            folder / file, 'rope_parameters', {'rope_theta': 250000.0, 'rope_type': 'default'}
        )
    shape = open_checkpoint(folder).shape
    assert (shape.llm.rope_theta, shape.encoder.rope_theta) == (250000.0, 250000.0)


def test_stop_tokens_are_those_of_all_files(folder: Path) -> None:
    with_value(folder / 'config.json', 'eos_token_id', 5)
    with_value(folder / 'generation_config.json', 'eos_token_id', [6, 7])
    assert open_checkpoint(folder).shape.stop_token_ids == (5, 6, 7, 569, 571)


def test_the_generation_configuration_may_be_absent(folder: Path) -> None:
    (folder / 'generation_config.json').unlink()
    without(folder / 'config.json', 'eos_token_id')
    assert open_checkpoint(folder).shape.stop_token_ids == (569, 571)


def test_zero_is_a_mean(folder: Path) -> None:
    with_value(folder / 'preprocessor_config.json', 'image_mean', [0, 0.25, 0.5])
    assert open_checkpoint(folder).shape.processor.image_mean == (0.0, 0.25, 0.5)


@pytest.mark.parametrize(
    'name', ['config.json', 'preprocessor_config.json', 'processor_config.json']
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointNotFound, match=name):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'{',
        b'[]',
        b'null',
        b'"text"',
        b'{"a": 1,}',
        b'\xff\xfe\x00',
        b'[' * 100_000,
        b'\0' * 64,
        b'{"vocab_size": ' + b'9' * 5000 + b'}',
    ],
)
@pytest.mark.parametrize(
    'name',
    [
        'config.json',
        'preprocessor_config.json',
        'processor_config.json',
        'generation_config.json',
        'tokenizer.json',
        'penguin-encoder/config.json',
    ],
)
def test_a_file_that_is_no_json_object_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointConfigError, match=name):
        open_checkpoint(folder)


def test_a_directory_in_place_of_a_file_is_named(folder: Path) -> None:
    (folder / 'config.json').unlink()
    (folder / 'config.json').mkdir()
    with pytest.raises(CheckpointError, match='config.json'):
        open_checkpoint(folder)
