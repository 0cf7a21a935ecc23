# SPDX-License-Identifier: Apache-2.0
"""Where the encoder's configuration is looked for on disk (hub repositories: test_hub.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rewriting import with_value

from penguin_ros.checkpoint.checkpoint import read_encoder_config
from penguin_ros.checkpoint.json_file import JsonFile, read_json
from penguin_ros.errors import CheckpointConfigError, CheckpointNotFound


def found(folder: Path) -> JsonFile | None:
    return read_encoder_config(folder, read_json(folder / 'config.json'))


def test_a_folder_inside_the_checkpoint_is_read(folder: Path) -> None:
    config = found(folder)
    assert config is not None
    assert config.integer('hidden_size') == 48


def test_an_absolute_folder_is_read(folder: Path) -> None:
    (folder / 'penguin-encoder').rename(folder.parent / 'elsewhere')
    with_value(folder / 'config.json', 'vision_encoder', str(folder.parent / 'elsewhere'))
    assert found(folder) is not None


def test_a_hub_id_is_looked_for_beside_the_weights_first(folder: Path) -> None:
    (folder / 'owner').mkdir()
    (folder / 'penguin-encoder').rename(folder / 'owner' / 'name')
    with_value(folder / 'config.json', 'vision_encoder', 'owner/name')
    assert found(folder) is not None


def test_the_configuration_inside_wins(folder: Path) -> None:
    with_value(folder / 'config.json', 'vision_encoder_config', {'hidden_size': 7})
    config = found(folder)
    assert config is not None
    assert config.values == {'hidden_size': 7}


@pytest.mark.parametrize('name', [None, ''])
def test_no_name_means_no_configuration(folder: Path, name: object) -> None:
    with_value(folder / 'config.json', 'vision_encoder', name)
    assert found(folder) is None


@pytest.mark.parametrize('name', ['absent', '/no/such/folder', './a/b', 'n' * 5000])
def test_a_folder_that_is_not_there_is_named_with_the_place_to_fill(
    folder: Path, name: str
) -> None:
    with_value(folder / 'config.json', 'vision_encoder', name)
    with pytest.raises(CheckpointNotFound) as caught:
        found(folder)
    assert name in str(caught.value)
    assert str(folder / name / 'config.json') in caught.value.fix


@pytest.mark.parametrize('name', [3, [], {}, True, 'a\0b'])
def test_a_name_that_is_no_text_is_named(folder: Path, name: object) -> None:
    with_value(folder / 'config.json', 'vision_encoder', name)
    with pytest.raises(CheckpointConfigError, match='vision_encoder'):
        found(folder)
