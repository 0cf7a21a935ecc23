# SPDX-License-Identifier: Apache-2.0
"""Checkpoints whose shape and tokenizer the tests use: a written one, always there, and the golden
one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.testing.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small random checkpoint."""
    return open_checkpoint(
        write_random_checkpoint(tmp_path_factory.mktemp('preprocessing') / 'tiny')
    )


@pytest.fixture(scope='session')
def golden_checkpoint(golden_dir: Path) -> Checkpoint:
    """The checkpoint that the golden values were computed with."""
    return open_checkpoint(golden_dir / 'checkpoint')


@pytest.fixture(scope='session')
def merging_tokenizer(
    checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> PenguinTokenizer:
    """The random checkpoint's tokenizer, which also knows two line breaks as one token, as the
    published one does.
    """
    folder = tmp_path_factory.mktemp('merging') / 'tokenizer'
    shutil.copytree(checkpoint.path, folder)
    path = folder / 'tokenizer.json'
    description = json.loads(path.read_text(encoding='utf-8'))
    description['model']['vocab']['\u010a\u010a'] = (
        100_000  # U+010A stands for the byte of a line break
    )
    description['model']['merges'].insert(0, ['\u010a', '\u010a'])
    path.write_text(json.dumps(description), encoding='utf-8')
    return PenguinTokenizer(folder)
