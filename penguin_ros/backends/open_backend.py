# SPDX-License-Identifier: Apache-2.0
"""Which backend runs: the one branch on its kind. No inference library is imported here; a backend
imports its own in `open`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.cuda.backend import CudaBackend
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.backends.ways import this_machine
from penguin_ros.config import ModelConfig
from penguin_ros.errors import SettingError

if TYPE_CHECKING:
    from penguin_ros.checkpoint.checkpoint import Checkpoint

BUNDLE_BACKENDS = ('onnxruntime', 'tensorrt', 'cuda')
ON_GPU = {'tensorrt': 'TensorRT', 'cuda': 'the backend cuda'}


def make_backend(config: ModelConfig, model: Checkpoint | Bundle) -> Backend:
    """Returns the backend that `config` asks for, not open yet; SettingError when it cannot run
    what the settings name.

    auto takes what a bundle was built for, and torch for a checkpoint.
    """
    if isinstance(model, Bundle):
        return _bundle_backend(config, model)
    if config.backend in BUNDLE_BACKENDS:
        raise SettingError(
            f'backend {config.backend} runs bundles',
            f'{config.checkpoint} is a checkpoint',
            f'Type: penguin build {config.checkpoint} --backend {config.backend} --out '
            'engines/NAME, and set model.bundle to engines/NAME',
        )
    _check_precision(config, 'torch', 'auto', 'float32', 'bfloat16', 'float16')
    if config.device == 'auto':
        _tell_of_idle_card()
    return TorchBackend(model, config)


def _tell_of_idle_card() -> None:
    """Logs that torch will leave a card idle, and what to type."""
    why, fix = this_machine().idle_beside_torch()
    if why:
        logging.getLogger(__name__).warning('%s. %s', why, fix)


def _bundle_backend(config: ModelConfig, bundle: Bundle) -> Backend:
    if config.backend == 'torch':
        raise SettingError(
            f'model.bundle = {config.bundle!r}',
            'backend torch runs checkpoints, not bundles',
            'Leave model.bundle empty and set model.checkpoint',
        )
    _check_precision(config, str(bundle.path), 'auto', bundle.manifest.precision.linears)
    built_for = bundle.manifest.backend
    if config.backend not in ('auto', built_for):
        raise SettingError(
            f'backend {config.backend} does not run {bundle.path}',
            f'it was built for {built_for}',
            'Leave model.backend at auto, or build the checkpoint again with --backend '
            f'{config.backend}',
        )
    if built_for in ON_GPU and config.device == 'cpu':
        raise SettingError(
            'model.device = cpu',
            f'{bundle.path} was built for {ON_GPU[built_for]}, which runs on a GPU',
            'Leave model.device at auto, or build the checkpoint for onnxruntime',
        )
    if built_for == 'cuda':
        return CudaBackend(bundle, config)
    return (TensorrtBackend if built_for == 'tensorrt' else OnnxBackend)(bundle, config)


def _check_precision(config: ModelConfig, what: str, *known: str) -> None:
    if config.precision not in known:
        raise SettingError(
            f'model.precision = {config.precision!r}',
            f'{what} runs in {", ".join(known[1:])}',
            'Leave model.precision at auto',
        )
