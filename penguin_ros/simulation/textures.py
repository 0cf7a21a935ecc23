# SPDX-License-Identifier: Apache-2.0
"""Pictures of floors and skies, as arrays. Knows nothing of where they are drawn."""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penguin_ros.simulation.scene import Background, Floor, Rgb

PLANKS = 4


def floor_texels(floor: Floor, texels: int, seed: int) -> NDArray[np.uint8]:
    """(texels, texels, 3) uint8: two by two tiles of a floor."""
    first, second = np.asarray(floor.colour), np.asarray(floor.second)
    rows, columns = np.mgrid[0:texels, 0:texels]
    random = np.random.default_rng(seed)
    if floor.pattern == 'checker':
        share = ((rows * 2 // texels + columns * 2 // texels) % 2).astype(float)
    elif floor.pattern == 'grain':
        share = random.random((texels // 2, texels // 2)).repeat(2, 0).repeat(2, 1)
    elif floor.pattern == 'planks':
        share = random.random(PLANKS)[columns * PLANKS // texels] * 0.8 + 0.2 * random.random((1, texels))
        share = np.where(columns % (texels // PLANKS) < 2, 1.0, share)
    else:
        share = np.zeros((texels, texels))
    return _as_bytes(first + (second - first) * share[..., None])


def sky_texels(background: Background, texels: int) -> NDArray[np.uint8]:
    """(6 * texels, texels, 3) uint8: the faces right, left, up, down, front, back of a cube of sky."""
    share = np.clip(1.0 - 2.0 * np.arange(texels) / (texels - 1), 0.0, 1.0)[:, None, None] ** 0.7  # 0 from the horizon down
    side = _mixed(background.horizon, background.zenith, share) * np.ones((1, texels, 1))
    up, down = np.ones_like(side) * background.zenith, np.ones_like(side) * background.horizon
    return _as_bytes(np.concatenate([side, side, up, down, side, side]))


def _mixed(first: Rgb, second: Rgb, share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(first) * (1 - share) + np.asarray(second) * share


def _as_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values * 255, 0, 255), np.uint8)
