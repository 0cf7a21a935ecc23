# SPDX-License-Identifier: Apache-2.0
"""Small bundles for TensorRT, their engines on a fake machine, and the backends that run them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.fake_gpu.installed import Machine, use

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import BuildChoice
from penguin_ros.export.tensorrt.build import EngineOptions, build_engines

MAX_LENGTH = 1040  # four buckets of 256 and a short one
OPTIONS = EngineOptions(max_rows=48, max_patches=256, timing_cache='')
CONFIG = ModelConfig(max_length=MAX_LENGTH, kv_slots=3)


def tensorrt_bundle(
    checkpoint: Path, folder: Path, precision: str = 'float32', max_length: int = MAX_LENGTH
) -> Path:
    """Builds a bundle without engines."""
    return build_bundle(
        open_checkpoint(checkpoint),
        folder,
        BuildOrder(BuildChoice('tensorrt', precision), max_length),
    )


def opened(
    machine: Machine, folder: Path, options: EngineOptions = OPTIONS, **changes: int
) -> TensorrtBackend:
    """Returns an open backend on this machine, with its engines built there."""
    use(machine)
    build_engines(folder, options)
    backend = TensorrtBackend(open_bundle(folder), replace(CONFIG, **changes))
    backend.open()
    return backend
