# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to the files of a checkpoint, it opens or a child of CheckpointError says why
not.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rewriting import copied

from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.errors import CheckpointError
from penguin_ros.testing.random_checkpoint import Variant, write_random_checkpoint

CONFIGS = (
    'config.json',
    'preprocessor_config.json',
    'processor_config.json',
    'generation_config.json',
    'penguin-encoder/config.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'added_tokens.json',
    'model.safetensors.index.json',
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
)


@pytest.fixture(scope='module')
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(
        tmp_path_factory.mktemp('damage') / 'whole', variant=Variant(shards=2)
    )


@pytest.fixture(scope='module')
def scratch(sharded: Path) -> Path:
    """Makes a copy in which each example repairs the file that it damaged."""
    return copied(sharded, sharded.parent / 'scratch')


def used(folder: Path) -> Checkpoint:
    """Opens the checkpoint and uses every part of it."""
    checkpoint = open_checkpoint(folder)
    for name in checkpoint.tensors.names():
        checkpoint.tensors.read(name)
    assert checkpoint.digest
    checkpoint.tokenizer.decode(checkpoint.tokenizer.encode_text('a <image> b'))
    return checkpoint


def survives(scratch: Path, whole: Path, name: str, content: bytes) -> None:
    """Damages one file, uses the checkpoint, and repairs it."""
    (scratch / name).write_bytes(content)
    try:
        used(scratch)
    except CheckpointError as error:
        assert error.what
    finally:
        shutil.copyfile(whole / name, scratch / name)


@given(name=st.sampled_from(CONFIGS), seed=st.integers(0, 2**32), value=JSON)
@settings(max_examples=50, deadline=None)
def test_any_value_anywhere_in_a_configuration(
    scratch: Path, sharded: Path, name: str, seed: int, value: Any
) -> None:
    values = json.loads((sharded / name).read_text())
    parent, key = random.Random(seed).choice(list(places(values)))
    parent[key] = value
    survives(scratch, sharded, name, json.dumps(values).encode())


@given(name=st.sampled_from(CONFIGS), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_key_missing_from_a_configuration(
    scratch: Path, sharded: Path, name: str, seed: int
) -> None:
    values = json.loads((sharded / name).read_text())
    parent, key = random.Random(seed).choice(list(places(values)))
    del parent[key]
    survives(scratch, sharded, name, json.dumps(values).encode())


@given(
    name=st.sampled_from(('model-00001-of-00002.safetensors', 'merges.txt', *CONFIGS)),
    seed=st.integers(0, 2**32),
    flips=st.integers(1, 8),
)
@settings(max_examples=50, deadline=None)
def test_any_bytes_changed_in_any_file(
    scratch: Path, sharded: Path, name: str, seed: int, flips: int
) -> None:
    content, source = bytearray((sharded / name).read_bytes()), random.Random(seed)
    for _ in range(flips):
        content[source.randrange(min(len(content), 8000))] = source.randrange(256)
    survives(scratch, sharded, name, bytes(content))


@given(
    name=st.sampled_from(('model-00002-of-00002.safetensors', 'merges.txt', *CONFIGS)),
    share=st.floats(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_any_file_cut_short(scratch: Path, sharded: Path, name: str, share: float) -> None:
    content = (sharded / name).read_bytes()
    survives(scratch, sharded, name, content[: int(len(content) * share)])


@pytest.mark.parametrize(
    'name', [*CONFIGS, 'model-00001-of-00002.safetensors', 'vocab.json', 'merges.txt']
)
def test_any_file_missing_or_replaced_by_a_folder(sharded: Path, tmp_path: Path, name: str) -> None:
    folder = copied(sharded, tmp_path / 'c')
    (folder / name).unlink()
    for _ in range(2):
        try:
            used(folder)
        except CheckpointError as error:
            assert error.what
        (folder / name).mkdir(exist_ok=True)


def places(values: Any) -> list[tuple[Any, Any]]:
    """Returns every (container, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    keys = (
        list(values)
        if isinstance(values, dict)
        else range(len(values))
        if isinstance(values, list)
        else ()
    )
    for key in keys:
        found.append((values, key))
        found += places(values[key])
    return found
