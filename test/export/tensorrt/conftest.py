# SPDX-License-Identifier: Apache-2.0
"""A machine with a fake GPU, and bundles for TensorRT without engines."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.fake_gpu.installed import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine with a TensorRT that updates caches in place."""
    from support.fake_gpu.installed import Machine, remove, use

    made = Machine('10.16.2')
    use(made)
    yield made
    remove()


@pytest.fixture(scope='session')
def graphs(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle per precision."""
    from support.fake_gpu.bundles import tensorrt_bundle

    folder = tmp_path_factory.mktemp('graphs')
    return {
        precision: tensorrt_bundle(tiny_checkpoint, folder / precision, precision, max_length=272)
        for precision in ('float32', 'float16', 'int4')
    }


@pytest.fixture
def bundle(graphs: dict[str, Path], tmp_path: Path) -> Path:
    """A bundle to build in."""
    return Path(shutil.copytree(graphs['float32'], tmp_path / 'bundle'))
