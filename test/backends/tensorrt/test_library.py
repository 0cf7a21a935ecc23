# SPDX-License-Identifier: Apache-2.0
"""The errors of the TensorRT backend where there is no GPU, no TensorRT, or one that is too old."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.fake_gpu.bundles import opened
from support.fake_gpu.installed import Machine, use

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendUnavailable


def test_without_a_gpu_the_error_says_so(machine: Machine, bundle: Path) -> None:
    opened(machine, bundle).close()
    machine.gpu.is_present = False
    try:
        with pytest.raises(
            BackendUnavailable, match=r'no CUDA device.*InsufficientDriver.*nvidia-smi'
        ):
            TensorrtBackend(open_bundle(bundle), ModelConfig()).open()
    finally:
        machine.gpu.is_present = True


@pytest.mark.parametrize(
    ('version', 'words'), [('8.6.2.3', r'8.6.2.3 is too old.*JetPack 6.2'), ('10.2.0', 'too old')]
)
def test_a_tensorrt_that_is_too_old_is_refused_by_name(
    bundle: Path, version: str, words: str
) -> None:
    use(Machine(version))
    with pytest.raises(BackendUnavailable, match=words):
        TensorrtBackend(open_bundle(bundle), ModelConfig()).open()


def test_without_tensorrt_the_error_names_the_package(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(BackendUnavailable, match='python3-libnvinfer'):
        TensorrtBackend(open_bundle(bundle), ModelConfig()).open()
