# SPDX-License-Identifier: Apache-2.0
"""A machine that updates caches in place and one that is too old for it, a bundle, and backends on
both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.manifest import FIXED_LENGTH, TWO_PART
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig

if TYPE_CHECKING:
    from support.fake_gpu.installed import Machine

# The fake GPU needs onnx and onnxruntime, without which the tests here are skipped; it is imported
# where it is used.
VERSIONS = {FIXED_LENGTH: '10.16.2', TWO_PART: '10.3.0'}


@pytest.fixture(scope='module', params=VERSIONS)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine that updates caches in place, and one that is too old for it."""
    from support.fake_gpu.installed import Machine, remove

    yield Machine(VERSIONS[request.param])
    remove()


@pytest.fixture(scope='module')
def bundle(
    machine: Machine, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle for TensorRT, without engines."""
    from support.fake_gpu.bundles import tensorrt_bundle

    return tensorrt_bundle(tiny_checkpoint, tmp_path_factory.mktemp('bundles') / 'bundle')


@pytest.fixture
def backend(machine: Machine, bundle: Path) -> Iterator[TensorrtBackend]:
    """An open backend with three slots of 1040 positions."""
    from support.fake_gpu.bundles import opened

    made = opened(machine, bundle)
    yield made
    made.close()


@pytest.fixture
def torch_backend(tiny_checkpoint: Path) -> Iterator[Backend]:
    """The backend whose numbers TensorRT's must equal."""
    pytest.importorskip('torch', reason='torch is not installed')
    from penguin_ros.backends.torch.backend import TorchBackend

    config = ModelConfig(device='cpu', precision='float32', max_length=1040)
    made = TorchBackend(open_checkpoint(tiny_checkpoint), config)
    made.open()
    yield made
    made.close()
