# SPDX-License-Identifier: Apache-2.0
"""Driver and runtime of CUDA are compared by number, before anything else is asked of CUDA."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest

from penguin_ros.backends.cuda import versions
from penguin_ros.backends.cuda.versions import (
    Fit,
    bindings_command,
    device_advice,
    driver_version,
    fit_of,
    refusal,
    without_bindings,
)
from penguin_ros.jetson import Jetson

ORIN = Jetson((36, 4, 3), '6.1 or 6.2', (12, 6))


@pytest.mark.parametrize(
    ('driver', 'runtime', 'fit'),
    [
        (12060, 12060, Fit.FITS),
        (12060, 12020, Fit.FITS),
        (13000, 12090, Fit.FITS),
        (14010, 13020, Fit.FITS),
        (12060, 12090, Fit.NEWER),
        (13000, 13050, Fit.NEWER),
        (12060, 13000, Fit.TOO_NEW),
        (12090, 13050, Fit.TOO_NEW),
        (11040, 12090, Fit.OLD_DRIVER),
        (11040, 11040, Fit.OLD_DRIVER),
        (0, 12090, Fit.NO_DRIVER),
        (0, 13050, Fit.NO_DRIVER),
    ],
)
def test_a_runtime_may_be_newer_than_the_driver_within_its_major_version_only(
    driver: int, runtime: int, fit: Fit
) -> None:
    assert fit_of(driver, runtime) is fit
    is_refused = fit not in (Fit.FITS, Fit.NEWER)
    assert (refusal(driver, runtime, None) is not None) is is_refused


@pytest.mark.parametrize(
    ('driver', 'requirement'),
    [
        (12060, '"cuda-bindings==12.9.*"'),
        (13000, '"cuda-bindings>=13.0,<13.1"'),
        (13020, '"cuda-bindings>=13.0,<13.3"'),
        (0, '"cuda-bindings==12.9.*"'),
    ],
)
def test_the_line_brings_the_bindings_for_the_driver(driver: int, requirement: str) -> None:
    assert bindings_command(driver).endswith(f'pip install {requirement}')


def test_a_runtime_of_a_later_major_version_names_both_versions_and_the_line() -> None:
    error = refusal(12060, 13050, ORIN)
    assert error is not None and '13.5' in error.why and 'runs 12.6 at most' in error.why
    assert error.fix == f'Type: {sys.executable} -m pip install "cuda-bindings==12.9.*"'


def test_without_a_driver_a_jetson_is_not_told_of_programs_that_it_does_not_have() -> None:
    for jetson, words in ((ORIN, '--runtime nvidia'), (None, '--gpus all')):
        error = refusal(0, 12090, jetson)
        assert error is not None and words in error.fix and 'libcuda.so.1' in error.why
        assert 'nvidia-smi' not in error.fix


def test_a_driver_before_cuda_12_is_to_be_updated() -> None:
    for jetson, words in ((ORIN, 'JetPack 6.2'), (None, '525')):
        error = refusal(11040, 12090, jetson)
        assert error is not None and 'CUDA 11.4 at most' in error.why and words in error.fix


def test_where_the_versions_fit_the_reason_is_looked_for_elsewhere() -> None:
    assert 'groups video and render' in device_advice(12060, 12060, ORIN)
    assert 'nvidia-smi' in device_advice(12060, 12060, None)
    assert 'pip install' not in device_advice(12060, 12060, None)
    assert '"cuda-bindings>=13.0,<13.1"' in device_advice(13000, 13050, None)


def library(version: int, failed: int = 0) -> object:
    """Returns what stands in for libcuda."""

    def get_version(pointer: object) -> int:
        pointer._obj.value = version  # type: ignore[attr-defined]
        return failed

    return SimpleNamespace(cuDriverGetVersion=get_version)


def test_the_driver_is_asked_without_the_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: library(12060))
    assert driver_version() == 12060
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: library(12060, failed=3))
    assert driver_version() == 0

    def absent(name: str) -> object:
        raise OSError(f'{name}: cannot open shared object file')

    monkeypatch.setattr(ctypes, 'CDLL', absent)
    assert driver_version() == 0


@pytest.mark.parametrize(
    ('driver', 'jetson', 'requirement'),
    [
        (12060, None, 'cuda-bindings==12.9.*'),
        (13020, None, 'cuda-bindings>=13.0,<13.3'),
        (0, None, 'cuda-bindings==12.9.*'),
        (0, Jetson((38, 0), '7.0', (13, 0)), 'cuda-bindings>=13.0,<13.1'),
    ],
)
def test_without_the_bindings_the_line_is_for_the_driver_of_this_machine(
    driver: int, jetson: Jetson | None, requirement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, 'driver_version', lambda: driver)
    monkeypatch.setattr(versions, 'find_jetson', lambda: jetson)
    error = without_bindings('no engines', ModuleNotFoundError("No module named 'cuda'"))
    assert f'pip install "{requirement}"' in error.fix and "No module named 'cuda'" in error.why
