# SPDX-License-Identifier: Apache-2.0
"""The ways of planted machines, the fastest first, and what auto makes of them."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from penguin_ros.backends import open_backend, ways
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.backends.ways import Build, Machine, Way
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.export import bundle_cache
from penguin_ros.jetson import Jetson
from penguin_ros.nvidia_card import Card

RTX, CUDA_13, CUDA_12, CPU = (
    Card('NVIDIA GeForce RTX 4090', 13000),
    Build('2.11.0', '13.0'),
    Build('2.10.0', '12.8'),
    Build('2.13.0+cpu', ''),
)
OLD_DRIVER = Card('NVIDIA GeForce RTX 3060', 12020)


@pytest.mark.parametrize(
    ('machine', 'expected'),
    [
        (
            Machine(RTX, CUDA_13, CUDA_13),
            [Way.TORCH_CUDA, Way.ONNXRUNTIME_CUDA, Way.TORCH_CPU, Way.ONNXRUNTIME_CPU],
        ),
        (
            Machine(RTX, CPU, CUDA_12),
            [Way.ONNXRUNTIME_CUDA, Way.TORCH_CPU, Way.ONNXRUNTIME_CPU],
        ),
        (Machine(OLD_DRIVER, CUDA_13, CPU), [Way.TORCH_CPU, Way.ONNXRUNTIME_CPU]),
        (Machine(OLD_DRIVER, CUDA_12, None), [Way.TORCH_CUDA, Way.TORCH_CPU]),
        (Machine(None, CUDA_13, CUDA_13), [Way.TORCH_CPU, Way.ONNXRUNTIME_CPU]),
        (Machine(RTX, None, None), []),
    ],
)
def test_the_fastest_way_that_is_open_comes_first(machine: Machine, expected: list[Way]) -> None:
    assert machine.ways() == expected


def test_a_jetson_is_not_told_to_install_the_torch_of_the_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(Card('Orin', 12060), CPU, None)
    assert 'pip install' in machine.idle_beside_torch()[1]
    monkeypatch.setattr(ways, 'find_jetson', lambda: Jetson((36, 4, 3), '6.2', (12, 6)))
    assert 'TensorRT' in machine.idle_beside_torch()[1]


def test_a_card_whose_driver_is_hidden_is_idle_for_that_reason() -> None:
    why, fix = Machine(Card('NVIDIA T4', 0), CUDA_13, None).idle_beside_torch()
    assert 'no libcuda.so.1' in why and '--gpus all' in fix


def test_nothing_is_idle_where_there_is_no_card() -> None:
    assert Machine(None, CPU, CPU).idle_beside_torch() == ('', '')
    assert Machine(None, CPU, CPU).idle_beside_onnxruntime() == ('', '')


def test_libraries_are_found_without_importing_them() -> None:
    program = """
import sys
from penguin_ros.backends.ways import this_machine
print(this_machine())
assert not {'torch', 'onnxruntime', 'numpy'} & set(sys.modules), sorted(sys.modules)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    onnxruntime = pytest.importorskip('onnxruntime')
    assert f"onnxruntime=Build(version='{onnxruntime.__version__}'" in done.stdout


def test_a_checkpoint_goes_to_onnxruntime_where_only_that_reaches_the_card(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    config = ModelConfig(checkpoint=str(tiny_checkpoint))
    monkeypatch.setattr(bundle_cache, 'this_machine', lambda: Machine(RTX, CPU, CUDA_13))
    taken = bundle_cache.with_bundle(config, tmp_path)
    assert taken.backend == 'onnxruntime' and '-float16-' in taken.bundle
    on_cpu = ModelConfig(checkpoint=str(tiny_checkpoint), device='cpu')
    assert bundle_cache.with_bundle(on_cpu, tmp_path) is on_cpu
    monkeypatch.setattr(bundle_cache, 'this_machine', lambda: Machine(RTX, CUDA_13, CUDA_13))
    assert bundle_cache.with_bundle(config, tmp_path) is config


@pytest.mark.parametrize(
    'card', [Card('NVIDIA H100 80GB HBM3', 13000), Card('NVIDIA GeForce RTX 4090', 13000)]
)
@pytest.mark.parametrize('jetson', [None, Jetson((36, 4, 3), '6.2', (12, 6))])
@pytest.mark.parametrize(
    'libraries', [('tensorrt_rtx',), ('tensorrt',), ('tensorrt', 'tensorrt_rtx')]
)
def test_auto_never_takes_tensorrt_for_a_checkpoint(
    card: Card,
    jetson: Jetson | None,
    libraries: tuple[str, ...],
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TensorRT for RTX takes no Hopper and no Jetson, and neither was measured; both are there."""
    pytest.importorskip('torch', reason='torch is not installed')
    for name in libraries:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(ways, 'find_jetson', lambda: jetson)
    checkpoint, config = (
        open_checkpoint(tiny_checkpoint),
        ModelConfig(checkpoint=str(tiny_checkpoint)),
    )
    for machine in (Machine(card, CUDA_13, CUDA_13), Machine(card, CPU, None)):
        assert 'TensorRT' not in ' '.join(way.value for way in machine.ways())
        monkeypatch.setattr(bundle_cache, 'this_machine', lambda found=machine: found)
        monkeypatch.setattr(open_backend, 'this_machine', lambda found=machine: found)
        assert bundle_cache.with_bundle(config, tmp_path) is config
        assert make_backend(config, checkpoint).NAME == 'torch'  # type: ignore[attr-defined]


def test_a_backend_that_leaves_the_card_idle_says_so_in_the_log(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint)
    monkeypatch.setattr(open_backend, 'this_machine', lambda: Machine(RTX, CPU, None))
    with caplog.at_level(logging.WARNING):
        make_backend(ModelConfig(device='cpu'), checkpoint)
        assert not caplog.records
        make_backend(ModelConfig(), checkpoint)
    (record,) = caplog.records
    assert record.message.startswith(
        'torch here is built for CPUs; NVIDIA GeForce RTX 4090 is idle. Type: '
    )
