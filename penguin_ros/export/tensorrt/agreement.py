# SPDX-License-Identifier: Apache-2.0
"""How far the features of two engines of an encoder lie apart, run on the device one after the
other on the same frame.

Importing this file needs tensorrt.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.features import FeaturePool
from penguin_ros.backends.tensorrt.encoder import Encoder
from penguin_ros.backends.tensorrt.engine import Engine, Workspace
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.errors import BackendError
from penguin_ros.model_inputs import FramePatches

SIDE = 16
"""Patches of a side of the frame at most."""

PROJECTED = 'image_embeds'
MAX_DISTANCE = 0.01
"""Of the norm; rounding to float16 at other places gives a tenth of it."""


def check_agreement(
    device: CudaDevice, shape: CheckpointShape, engines: tuple[Path, Path], max_patches: int
) -> None:
    """Raises BackendError when the features of the first engine are not those of the second."""
    distance = feature_distance(device, shape, engines, max_patches)
    if not distance <= MAX_DISTANCE:
        raise BackendError(
            'the features are not those of softmax in float32',
            f'on two layers they differ by {distance:.1e} of their norm, {MAX_DISTANCE} is taken',
        )


def feature_distance(
    device: CudaDevice, shape: CheckpointShape, engines: tuple[Path, Path], max_patches: int
) -> float:
    """Returns ||a - b|| / ||b|| of the features that two engines give of a frame of noise; infinity
    when one of them is not finite.
    """
    side = min(SIDE, int(max_patches**0.5) // 2 * 2)
    pixels = np.random.default_rng(0).uniform(-1, 1, (side * side, shape.patch_values))
    frame = FramePatches(pixels.astype(np.float32), side, side, 2)
    ours, theirs = (_features(device, shape, path, frame) for path in engines)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float('inf')
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _features(
    device: CudaDevice, shape: CheckpointShape, path: Path, frame: FramePatches
) -> NDArray[np.float64]:
    engine = Engine(path, device)
    workspace = Workspace(device)
    encoder = Encoder(engine, shape.encoder, workspace)
    try:
        features = encoder.encode(frame, FeaturePool(device))
        return encoder.read(features, PROJECTED).astype(np.float64)
    finally:
        encoder.close()
        engine.close()
        device.free(workspace.place.address)
