# SPDX-License-Identifier: Apache-2.0
"""Which files hold the weights, and what is said when one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rewriting import edited, with_value

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.weight_files import find_weight_files
from penguin_ros.errors import CheckpointConfigError, CheckpointNotFound, CheckpointTensorError
from penguin_ros.testing.random_checkpoint import Variant, write_random_checkpoint

INDEX = 'model.safetensors.index.json'


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return write_random_checkpoint(tmp_path / 'sharded', variant=Variant(shards=3))


def test_shards_read_like_one_file(sharded: Path, tiny_checkpoint: Path) -> None:
    many, one = open_checkpoint(sharded).tensors, open_checkpoint(tiny_checkpoint).tensors
    assert len(find_weight_files(sharded).paths) == 3
    assert many.fingerprints() == one.fingerprints()


def test_every_missing_shard_is_named(sharded: Path) -> None:
    for number in (1, 3):
        (sharded / f'model-0000{number}-of-00003.safetensors').unlink()
    with pytest.raises(
        CheckpointNotFound,
        match='model-00001-of-00003.safetensors, model-00003-of-00003.safetensors',
    ):
        open_checkpoint(sharded)


def test_shards_without_an_index_are_all_read(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    assert len(open_checkpoint(sharded).tensors.names()) == 76
    (sharded / 'model-00002-of-00003.safetensors').unlink()
    with pytest.raises(CheckpointTensorError, match='missing'):
        open_checkpoint(sharded)


@pytest.mark.parametrize(
    'value',
    [
        {},
        [],
        'x',
        None,
        {'a': 1},
        {'a': ''},
        {'a': '/etc/passwd'},
        {'a': '../model.safetensors'},
        {'a': 'x\0y'},
    ],
)
def test_an_index_without_sense_is_named(sharded: Path, value: object) -> None:
    with_value(sharded / INDEX, 'weight_map', value)
    with pytest.raises(CheckpointConfigError, match=INDEX):
        open_checkpoint(sharded)


def test_a_shard_name_that_no_disk_can_hold_is_a_missing_shard(sharded: Path) -> None:
    edited(sharded / INDEX, lambda values: values['weight_map'].__setitem__('a', 'n' * 5000))
    with pytest.raises(CheckpointNotFound, match='names 4 weight files'):
        open_checkpoint(sharded)


def test_weights_in_another_format_are_not_read(folder: Path) -> None:
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')
    with pytest.raises(CheckpointNotFound, match='other formats than safetensors are not read'):
        open_checkpoint(folder)
