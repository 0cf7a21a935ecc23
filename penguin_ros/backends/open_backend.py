# SPDX-License-Identifier: Apache-2.0
"""Which backend runs: the one branch on its kind. Knows no inference library; the backend's file imports its own in `open`."""
from __future__ import annotations

from typing import TYPE_CHECKING

from penguin_ros.backends.base import Backend
from penguin_ros.backends.scripted_backend import ScriptedBackend, ScriptedModel
from penguin_ros.backends.torch_backend import TorchBackend
from penguin_ros.config import ModelConfig
from penguin_ros.errors import SettingError

if TYPE_CHECKING:
    from penguin_ros.checkpoint.checkpoint import Checkpoint


def make_backend(config: ModelConfig, checkpoint: Checkpoint | None) -> Backend:
    """The backend that `config` asks for, not open yet; SettingError when it cannot run what the settings name."""
    if config.backend == 'scripted':
        return ScriptedBackend(config, ScriptedModel.of(checkpoint) if checkpoint else None)
    if config.bundle:
        raise SettingError(f'model.bundle = {config.bundle!r}', f'backend {config.backend} runs checkpoints, not bundles',
                           'Leave model.bundle empty and set model.checkpoint')
    if checkpoint is None:
        raise SettingError('model.checkpoint is empty', f'backend {config.backend} needs one', 'Set it to a folder or a hub id')
    return TorchBackend(checkpoint, config)
