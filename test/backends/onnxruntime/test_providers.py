# SPDX-License-Identifier: Apache-2.0
"""Where ONNX Runtime computes: what auto takes on planted machines, and the options of CUDA."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.planted_card import plant_card

from penguin_ros.backends.onnxruntime import providers
from penguin_ros.backends.onnxruntime.providers import CPU, CUDA, TENSORRT, choose_placement
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendUnavailable, SettingError

WITH_CUDA: Any = SimpleNamespace(
    __version__='1.31.1', get_available_providers=lambda: [TENSORRT, CUDA, CPU]
)
WITHOUT: Any = SimpleNamespace(__version__='1.31.1', get_available_providers=lambda: [CPU])


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A card with all that the provider needs, and no package twice."""
    plant_card(monkeypatch, tmp_path / 'nvidia')
    lacking(monkeypatch)
    monkeypatch.setattr(providers, 'installed_rivals', lambda module: ['onnxruntime'])


def lacking(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(providers, 'load_cuda_libraries', lambda library: list(names))


def test_float32_means_float32_unless_tf32_is_asked_for() -> None:
    (name, options), (fallback, _) = choose_placement(WITH_CUDA, ModelConfig()).providers
    assert (name, options, fallback) == (CUDA, {'use_tf32': '0'}, CPU)
    loose = ModelConfig(provider_tf32=True, provider='tensorrt')
    assert dict(choose_placement(WITH_CUDA, loose).providers)[CUDA] == {'use_tf32': '1'}


def test_graphs_of_launches_are_an_option_of_cuda_alone() -> None:
    assert not choose_placement(WITH_CUDA, ModelConfig()).can_capture
    placement = choose_placement(WITH_CUDA, ModelConfig(provider_graphs=True))
    assert placement.can_capture
    assert dict(placement.capturing()) == {
        CUDA: {'use_tf32': '0', 'enable_cuda_graph': '1'},
        CPU: {},
    }
    for config in (ModelConfig(device='cpu'), ModelConfig(provider='tensorrt')):
        asked = ModelConfig(device=config.device, provider=config.provider, provider_graphs=True)
        assert not choose_placement(WITH_CUDA, asked).can_capture


def test_auto_takes_the_card_where_all_is_there() -> None:
    placement = choose_placement(WITH_CUDA, ModelConfig())
    assert (placement.best, placement.device, placement.idle) == (CUDA, 'cuda', '')
    assert choose_placement(WITH_CUDA, ModelConfig(device='cpu')).device == 'cpu'


def test_auto_without_a_card_takes_the_cpu_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant_card(monkeypatch, tmp_path / 'none', (), cuda=0, driver='')
    lacking(monkeypatch, 'libcuda.so.1')
    placement = choose_placement(WITH_CUDA, ModelConfig())
    assert (placement.best, placement.idle, caplog.records) == (CPU, '', [])


@pytest.mark.parametrize(
    ('library', 'missing', 'words'),
    [
        (WITHOUT, (), 'built without it.*onnxruntime-gpu'),
        (WITH_CUDA, ('libcublas.so.13', 'libcurand.so.10'), 'libcublas.so.13, libcurand.so.10'),
        (WITH_CUDA, ('libcuda.so.1', 'libcublas.so.13'), 'no NVIDIA driver'),
    ],
)
def test_a_card_that_cannot_be_used_is_idle_by_auto_and_an_error_when_asked_for(
    library: Any,
    missing: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lacking(monkeypatch, *missing)
    placement = choose_placement(library, ModelConfig())
    assert placement.device == 'cpu' and placement.idle.startswith(
        'NVIDIA GeForce RTX 4090 is idle'
    )
    assert [record.message for record in caplog.records] == [placement.idle]
    for config in (ModelConfig(device='cuda'), ModelConfig(provider='cuda')):
        with pytest.raises(BackendUnavailable, match=words) as caught:
            choose_placement(library, config)
        assert str(caught.value) in placement.idle
        assert 'model.provider to cpu' in caught.value.fix


def test_both_packages_at_once_are_named_with_a_line_that_removes_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = ['onnxruntime', 'onnxruntime-gpu']
    monkeypatch.setattr(providers, 'installed_rivals', lambda module: both)
    with pytest.raises(BackendUnavailable, match='onnxruntime and onnxruntime-gpu are both') as one:
        choose_placement(WITHOUT, ModelConfig(device='cuda'))
    assert 'uninstall --yes onnxruntime onnxruntime-gpu && ' in one.value.fix


def test_contradictions_are_refused() -> None:
    with pytest.raises(SettingError, match='model.provider is cpu'):
        choose_placement(WITH_CUDA, ModelConfig(device='cuda', provider='cpu'))
