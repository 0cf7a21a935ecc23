# SPDX-License-Identifier: Apache-2.0
"""Builds the bundle of a checkpoint where the backend runs bundles only, for verbs that are given a
checkpoint; on the caller's thread.

The node never does this: there a missing bundle is an error that names the command.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.backends.ways import Way, this_machine
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.console import progress_bar, status_line
from penguin_ros.errors import BuildRefused, BundleError
from penguin_ros.libraries import remedy
from penguin_ros.user_cache import user_cache


def with_bundle(model: ModelConfig, folder: Path | None = None) -> ModelConfig:
    """Returns the settings, with a bundle of their checkpoint when it needs one: for backend
    onnxruntime, and for auto where torch is absent or ONNX Runtime has a faster way.

    The bundle lies in `folder`, or in the cache of this user, where it is found again.
    """
    if model.bundle or not model.checkpoint or not _needs_one(model):
        return model
    checkpoint = open_checkpoint(model.checkpoint, progress=status_line)
    precision = _precision(model) if model.precision == 'auto' else model.precision
    name = Path(checkpoint.name).name
    name = f'{name}-{checkpoint.digest[:12]}-{precision}-{model.max_length}'
    path = (folder or cache_folder()) / name
    if not is_bundle_of(checkpoint, path):
        build(checkpoint, path, precision, model.max_length)
    return replace(model, bundle=str(path), backend='onnxruntime')


def _needs_one(model: ModelConfig) -> bool:
    if model.backend != 'auto':
        return model.backend == 'onnxruntime'
    if importlib.util.find_spec('torch') is None:
        return True
    return model.device != 'cpu' and this_machine().ways()[:1] == [Way.ONNXRUNTIME_CUDA]


def _precision(model: ModelConfig) -> str:
    """The number format that was measured as the fastest exact one where the bundle will run."""
    is_on_card = model.device != 'cpu' and Way.ONNXRUNTIME_CUDA in this_machine().ways()
    return 'float16' if is_on_card and model.provider in ('auto', 'cuda') else 'float32'


def cache_folder() -> Path:
    """Returns where bundles that nobody named are kept between runs."""
    return user_cache('bundles', status_line)


def is_bundle_of(checkpoint: Checkpoint, path: Path) -> bool:
    """Returns whether a bundle was built from this very checkpoint, for this version of
    penguin_ros.
    """
    try:
        return read_manifest(path).model_digest == checkpoint.digest
    except BundleError:
        return False


def build(checkpoint: Checkpoint, path: Path, precision: str, max_length: int) -> None:
    """Builds a bundle for ONNX Runtime on a CPU, with a progress bar."""
    try:
        from penguin_ros.export.build import BuildOrder, build_bundle
        from penguin_ros.export.precision import BuildChoice
    except ImportError as error:
        raise BuildRefused(
            'the checkpoint cannot be built for ONNX Runtime here',
            f'importing {error.name} failed',
            f'{remedy(error, "onnx")}, or give a bundle with --bundle',
        ) from error
    order = BuildOrder(BuildChoice('onnxruntime', precision), max_length)
    status_line(f'building {checkpoint.name} for ONNX Runtime in {precision}: {path}')
    with progress_bar('building', 1.0) as bar:
        build_bundle(checkpoint, path, order, lambda stage, share: bar(share, stage))
