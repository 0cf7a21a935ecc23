# SPDX-License-Identifier: Apache-2.0
"""A small random checkpoint, written once; tests change copies of it."""
from __future__ import annotations

from pathlib import Path

import pytest
from checkpoint.rewriting import copied

from penguin_ros.checkpoint.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope='session')
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint; leave it as it is."""
    return write_random_checkpoint(tmp_path_factory.mktemp('random') / 'tiny')


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of the random checkpoint to change."""
    return copied(written, tmp_path / 'changed')
