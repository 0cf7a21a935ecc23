# SPDX-License-Identifier: Apache-2.0
"""Which of the two TensorRTs is used, and the errors of the backend where there is no GPU, no
TensorRT, or one that is too old.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.fake_gpu.bundles import opened
from support.fake_gpu.installed import Machine, use

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.backends.tensorrt.library import (
    BINDINGS,
    MODULES,
    PLAIN,
    RTX,
    Library,
    require_tensorrt,
)
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


def test_without_any_tensorrt_the_error_names_the_package_of_a_jetson_and_that_of_a_desktop(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    with pytest.raises(BackendUnavailable, match='python3-libnvinfer') as caught:
        TensorrtBackend(open_bundle(bundle), ModelConfig()).open()
    assert 'pip install "tensorrt-rtx-cu13>=1.4,<1.8"' in caught.value.fix


def install(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Makes these modules importable and no other TensorRT; None is one without a version."""
    monkeypatch.delitem(sys.modules, BINDINGS, raising=False)
    for module in MODULES:
        there = SimpleNamespace(__version__=versions[module]) if versions.get(module) else None
        if module in versions and there is None:
            there = SimpleNamespace()
        monkeypatch.setitem(sys.modules, module, there)


@pytest.mark.parametrize(
    ('installed', 'made_by', 'used'),
    [
        ({PLAIN: '10.16.2'}, '', PLAIN),
        ({RTX: '1.7.1'}, '', RTX),
        ({PLAIN: '10.16.2', RTX: '1.7.1'}, '', PLAIN),
        ({PLAIN: '10.16.2', RTX: '1.7.1'}, PLAIN, PLAIN),
        ({PLAIN: '10.16.2', RTX: '1.7.1'}, RTX, RTX),
        ({PLAIN: '10.16.2'}, RTX, PLAIN),
        ({RTX: '1.7.1'}, PLAIN, RTX),
        ({PLAIN: '8.6.1', RTX: '1.7.1'}, '', RTX),
        ({PLAIN: None, RTX: '1.7.1'}, '', RTX),
        ({PLAIN: '10.16.2', RTX: '1.3.0'}, RTX, PLAIN),
    ],
)
def test_the_library_that_made_the_engines_is_used_else_the_plain_one_else_the_one_for_rtx(
    installed: dict[str, str | None], made_by: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, **installed)
    assert require_tensorrt(made_by) == Library(used, str(installed[used]))


@pytest.mark.parametrize(
    ('installed', 'words'),
    [
        ({RTX: '1.3.0.10'}, r'TensorRT for RTX 1.3.0.10 is too old.*1\.4.*tensorrt-rtx-cu'),
        ({PLAIN: '8.6.1', RTX: '1.3.0'}, 'TensorRT 8.6.1 is too old.*JetPack'),
        ({RTX: None}, 'importing tensorrt_rtx failed.*tensorrt-rtx-cu'),
    ],
)
def test_the_error_is_about_the_library_that_is_there(
    installed: dict[str, str | None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, **installed)
    with pytest.raises(BackendUnavailable, match=words):
        require_tensorrt()


@pytest.mark.parametrize(('driver', 'package'), [(12080, 'cu12'), (13000, 'cu13'), (0, 'cu13')])
def test_the_package_is_the_one_for_the_cuda_of_the_driver(
    driver: int, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penguin_ros.backends.tensorrt import library

    install(monkeypatch)
    monkeypatch.setattr(library, 'driver_version', lambda: driver)
    with pytest.raises(BackendUnavailable) as caught:
        require_tensorrt()
    assert f'tensorrt-rtx-{package}>' in caught.value.fix


def test_a_process_that_has_opened_engines_of_one_library_refuses_the_other_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, **{PLAIN: '10.16.2', RTX: '1.7.1'})
    assert require_tensorrt().module == PLAIN
    monkeypatch.setitem(sys.modules, BINDINGS, SimpleNamespace(trt=sys.modules[PLAIN]))
    assert require_tensorrt().module == PLAIN
    with pytest.raises(
        BackendUnavailable, match=r'RTX 1\.7\.1 cannot be used.*uses TensorRT already.*process'
    ):
        require_tensorrt(RTX)
