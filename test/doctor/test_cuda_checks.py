# SPDX-License-Identifier: Apache-2.0
"""The doctor compares CUDA's driver and runtime before it says anything else of a GPU."""

from __future__ import annotations

import sys
import types

import pytest

from penguin_ros.doctor import cuda_checks
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.jetson import Jetson

ORIN = Jetson((36, 4, 3), '6.1 or 6.2', (12, 6))


def findings(
    monkeypatch: pytest.MonkeyPatch,
    driver: int,
    runtime: int = 0,
    installed: tuple[str, ...] = (),
    jetson: Jetson | None = None,
) -> list[Finding]:
    """Returns the findings of a machine; without torch unless it is `installed`."""
    modules = {name: types.ModuleType(name) for name in ('cuda', 'cuda.bindings')}
    modules['cuda.bindings'].runtime = types.SimpleNamespace(  # type: ignore[attr-defined]
        cudaRuntimeGetVersion=lambda: (0, runtime)
    )
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module if runtime else None)  # type: ignore[arg-type]
    monkeypatch.setattr(cuda_checks, 'driver_version', lambda: driver)
    monkeypatch.setattr(cuda_checks, 'find_jetson', lambda: jetson)
    monkeypatch.setattr(cuda_checks, '_has', lambda module: module in installed)
    return list(cuda_checks.cuda())


def test_a_machine_without_a_gpu_and_without_tensorrt_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert findings(monkeypatch, 0) == []


def test_the_comparison_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, 12060, 12060, ('tensorrt',), ORIN)
    assert [item.topic for item in found] == ['cuda driver', 'jetson']
    assert (
        found[0].state is State.OK and found[0].text == 'CUDA 12.6, runtime of cuda-bindings 12.6'
    )
    assert 'l4t=36.4.3' in found[1].text and 'cuda=12.6' in found[1].text


@pytest.mark.parametrize(
    ('driver', 'runtime', 'installed', 'state', 'words', 'fix'),
    [
        (12060, 13050, ('tensorrt',), State.FAULT, '12.6 at most', '"cuda-bindings==12.9.*"'),
        (12060, 13050, (), State.NOTE, '12.6 at most', '"cuda-bindings==12.9.*"'),
        (13000, 13050, ('tensorrt',), State.NOTE, 'which runs it', '"cuda-bindings>=13.0,<13.1"'),
        (13000, 12090, ('tensorrt',), State.OK, 'CUDA 13.0', ''),
        (12060, 0, ('tensorrt',), State.FAULT, 'no cuda-bindings', '"cuda-bindings==12.9.*"'),
        (12060, 0, (), State.OK, 'CUDA 12.6; no cuda-bindings', ''),
        (0, 12090, ('tensorrt',), State.FAULT, 'libcuda.so.1', '--gpus all'),
        (0, 0, ('tensorrt',), State.FAULT, 'libcuda.so.1', ''),
    ],
)
def test_versions_that_do_not_go_together_are_a_fault_where_tensorrt_is_to_use_them(
    driver: int,
    runtime: int,
    installed: tuple[str, ...],
    state: State,
    words: str,
    fix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, *_ = findings(monkeypatch, driver, runtime, installed)
    assert (first.topic, first.state) == ('cuda driver', state)
    assert words in first.text and fix in first.fix


def test_a_torch_for_a_newer_cuda_than_the_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = types.SimpleNamespace(
        cuda=types.SimpleNamespace(is_available=lambda: False),
        version=types.SimpleNamespace(cuda='13.0'),
    )
    monkeypatch.setitem(sys.modules, 'torch', torch)  # type: ignore[arg-type]
    *_, last = findings(monkeypatch, 12060, 0, ('torch',))
    assert 'torch was built for CUDA 13.0, which this driver does not run' in last.text
    torch.version.cuda = '12.6'
    *_, last = findings(monkeypatch, 12060, 0, ('torch',))
    assert last.text == 'none, the CPU is used'
