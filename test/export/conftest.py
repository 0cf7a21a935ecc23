# SPDX-License-Identifier: Apache-2.0
"""Bundles of the golden checkpoint, for tests that compare graphs with the reference's values."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.checkpoint.checkpoint import open_checkpoint


@pytest.fixture(scope='session')
def golden_bundles(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The bundles in float32, by backend."""
    from support.graph_runs import built

    folder, checkpoint = (
        tmp_path_factory.mktemp('golden'),
        open_checkpoint(golden_dir / 'checkpoint'),
    )
    return {
        backend: built(checkpoint, folder / backend, backend, max_length=1024)
        for backend in ('onnxruntime', 'tensorrt')
    }
