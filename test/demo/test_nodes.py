# SPDX-License-Identifier: Apache-2.0
"""Which model a demo runs, and what it asks for when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.config import ModelConfig
from penguin_ros.demo import nodes
from penguin_ros.demo.nodes import DemoSettings, model_bundle
from penguin_ros.errors import SettingError


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[ModelConfig]:
    """What a bundle was wanted of; none is built."""
    wanted: list[ModelConfig] = []

    def with_bundle(model: ModelConfig) -> ModelConfig:
        wanted.append(model)
        return model

    monkeypatch.setattr(nodes, 'with_bundle', with_bundle)
    return wanted


def test_a_bundle_that_is_named_is_run_as_it_is(built: list[ModelConfig], tmp_path: Path) -> None:
    assert model_bundle(DemoSettings(1.0, bundle=str(tmp_path))) == str(tmp_path) and not built


def test_a_checkpoint_is_built_in_a_precision_that_suits_its_size(
    built: list[ModelConfig], tiny_checkpoint: Path
) -> None:
    for source in (str(tiny_checkpoint), 'tencent/Penguin-VL-2B'):
        model_bundle(DemoSettings(1.0, checkpoint=source))
    model_bundle(DemoSettings(1.0, checkpoint=str(tiny_checkpoint), precision='int8'))
    assert [model.precision for model in built] == ['float32', 'int4', 'int8']
    assert all(model.backend == 'onnxruntime' for model in built)


def test_without_a_model_the_small_one_runs_in_its_own_world(
    built: list[ModelConfig],
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(nodes, 'shipped_model', lambda: tiny_checkpoint)
    model_bundle(DemoSettings(1.0))
    assert [model.checkpoint for model in built] == [str(tiny_checkpoint)]
    assert 'knows its simulated world and nothing else' in capsys.readouterr().err


def test_without_a_model_a_video_asks_for_one_that_knows_real_images(
    built: list[ModelConfig],
) -> None:
    with pytest.raises(SettingError, match='simulated world only') as error:
        model_bundle(DemoSettings(1.0, video=Path('drive.mp4')))
    assert 'penguin demo --video drive.mp4 --bundle DIR' in error.value.fix and not built


def test_without_weights_of_the_small_model_one_is_asked_for(
    built: list[ModelConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, 'shipped_model', lambda: None)
    with pytest.raises(SettingError, match='has no weights here') as error:
        model_bundle(DemoSettings(1.0))
    assert '--checkpoint DIR_OR_HUB_ID' in error.value.fix and not built
