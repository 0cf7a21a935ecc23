# SPDX-License-Identifier: Apache-2.0
"""Bundles for verbs that are given a checkpoint: when one is needed, and when it is built again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.rewriting import copied

from penguin_ros.config import ModelConfig
from penguin_ros.export import bundle_cache
from penguin_ros.export.bundle_cache import with_bundle

pytest.importorskip('onnx', reason='onnx is not installed')


@pytest.fixture
def config(tiny_checkpoint: Path) -> ModelConfig:
    """A checkpoint for ONNX Runtime."""
    return ModelConfig(checkpoint=str(tiny_checkpoint), backend='onnxruntime', max_length=64)


def test_a_bundle_is_built_once_and_found_again(config: ModelConfig, tmp_path: Path) -> None:
    first = with_bundle(config, tmp_path)
    manifest = Path(first.bundle) / 'bundle.yaml'
    built_ns = manifest.stat().st_mtime_ns
    assert first == replace(config, bundle=first.bundle) and manifest.parents[1] == tmp_path
    assert with_bundle(config, tmp_path) == first
    assert manifest.stat().st_mtime_ns == built_ns


def test_other_precisions_lengths_and_checkpoints_have_bundles_of_their_own(
    config: ModelConfig, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    other = copied(tiny_checkpoint, tmp_path / 'other')
    (other / 'generation_config.json').write_text('{"temperature": 0.5}')
    configs = [
        config,
        replace(config, precision='int8'),
        replace(config, max_length=32),
        replace(config, checkpoint=str(other)),
    ]
    bundles = {with_bundle(each, tmp_path / 'bundles').bundle for each in configs}
    assert len(bundles) == len(configs)


def test_what_is_no_bundle_of_the_checkpoint_is_built_again(
    config: ModelConfig, tmp_path: Path
) -> None:
    manifest = Path(with_bundle(config, tmp_path).bundle) / 'bundle.yaml'
    manifest.write_text(manifest.read_text().replace('contract: 1', 'contract: 0'))
    with_bundle(config, tmp_path)
    assert 'contract: 1' in manifest.read_text()


@pytest.mark.parametrize(
    'changes', [{'backend': 'torch'}, {'bundle': 'engines/mine'}, {'checkpoint': ''}]
)
def test_settings_that_need_no_bundle_are_returned_as_they_are(
    config: ModelConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
) -> None:
    monkeypatch.setattr(bundle_cache, 'build', lambda *arguments: pytest.fail('it was built'))
    changed = replace(config, **changes)  # type: ignore[arg-type]
    assert with_bundle(changed, tmp_path) is changed
