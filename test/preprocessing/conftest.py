# SPDX-License-Identifier: Apache-2.0
"""Checkpoints whose shape and tokenizer the tests use: a written one, always there, and the golden one."""
from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.checkpoint.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small random checkpoint."""
    return open_checkpoint(write_random_checkpoint(tmp_path_factory.mktemp('preprocessing') / 'tiny'))


@pytest.fixture(scope='session')
def golden_checkpoint(golden_dir: Path) -> Checkpoint:
    """The checkpoint that the golden values were computed with."""
    return open_checkpoint(golden_dir / 'checkpoint')
