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
        with pytest.raises(BackendUnavailable, match=r'no CUDA device.*NoDevice.*nvidia-smi'):
            TensorrtBackend(open_bundle(bundle), ModelConfig()).open()
    finally:
        machine.gpu.is_present = True


@pytest.mark.parametrize(
    ('driver', 'runtime', 'words'),
    [
        (12060, 13050, r'CUDA 13\.5.*12\.6 at most.*pip install "cuda-bindings==12\.9\.\*"'),
        (0, 12090, r'no CUDA driver.*libcuda'),
        (11040, 12090, r'11\.4 at most.*driver'),
    ],
)
def test_a_runtime_that_the_driver_does_not_run_is_refused_before_any_other_call(
    driver: int, runtime: int, words: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    machine.gpu.driver, machine.gpu.runtime = driver, runtime
    use(machine)
    from cuda.bindings import runtime as cudart

    def called(*arguments: object) -> None:
        raise AssertionError('called before the versions were compared')

    for name in ('cudaSetDevice', 'cudaStreamCreateWithFlags', 'cudaGetDeviceProperties'):
        monkeypatch.setattr(cudart.module, name, called)
    with pytest.raises(BackendUnavailable, match=words):
        TensorrtBackend(open_bundle(bundle), ModelConfig()).open()


def test_a_runtime_that_is_newer_within_the_major_version_runs(
    machine: Machine, bundle: Path
) -> None:
    machine.gpu.runtime = 12090
    try:
        opened(machine, bundle).close()
    finally:
        machine.gpu.runtime = 12060


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
