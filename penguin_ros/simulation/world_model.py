# SPDX-License-Identifier: Apache-2.0
"""The one MuJoCo model of all scenes, as MJCF text: a pool of geoms of every shape; and the texels
of floors and skies, as arrays.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from penguin_ros.simulation.scene import (
    HALF_HEIGHTS,
    MAX_THINGS,
    SHAPES,
    SIZES,
    Background,
    Floor,
    Rgb,
)

PLANKS = 4


def floor_texels(floor: Floor, texels: int, seed: int) -> NDArray[np.uint8]:
    """Returns (texels, texels, 3) uint8 with two by two tiles of a floor."""
    first, second = np.asarray(floor.colour), np.asarray(floor.second)
    rows, columns = np.mgrid[0:texels, 0:texels]
    random = np.random.default_rng(seed)
    if floor.pattern == 'checker':
        share = ((rows * 2 // texels + columns * 2 // texels) % 2).astype(float)
    elif floor.pattern == 'grain':
        share = random.random((texels // 2, texels // 2)).repeat(2, 0).repeat(2, 1)
    elif floor.pattern == 'planks':
        share = random.random(PLANKS)[columns * PLANKS // texels] * 0.8 + 0.2 * random.random(
            (1, texels)
        )
        share = np.where(columns % (texels // PLANKS) < 2, 1.0, share)
    else:
        share = np.zeros((texels, texels))
    return _as_bytes(first + (second - first) * share[..., None])


def sky_texels(background: Background, texels: int) -> NDArray[np.uint8]:
    """Returns (6 * texels, texels, 3) uint8: the faces right, left, up, down, front and back of a
    cube of sky.
    """
    heights = np.clip(1.0 - 2.0 * np.arange(texels) / (texels - 1), 0.0, 1.0)
    share = heights[:, None, None] ** 0.7  # 0 from the horizon down
    side = _mixed(background.horizon, background.zenith, share) * np.ones((1, texels, 1))
    up, down = np.ones_like(side) * background.zenith, np.ones_like(side) * background.horizon
    return _as_bytes(np.concatenate([side, side, up, down, side, side]))


def _mixed(first: Rgb, second: Rgb, share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(first) * (1 - share) + np.asarray(second) * share


def _as_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values * 255, 0, 255), np.uint8)


SHOWN, BLOTS, HIDDEN = 0, 1, 5
"""Groups of geoms: things, floor and walls are drawn; the blots below things are no part of them;
the rest is hidden.
"""

FLOOR_TEXELS, SKY_TEXELS = 64, 32
WALLS = 3
CONE_SIDES = 24

_TYPES = {
    'box': 'type="box" size="1 1 1"',
    'ball': 'type="sphere" size="1"',
    'cylinder': 'type="cylinder" size="1 1"',
    'cone': 'type="mesh" mesh="cone_0"',
}


def model_xml(width: int, height: int) -> str:
    """Returns the MJCF for images of up to width x height pixels, without multisampling and
    shadows.
    """
    meshes = ''.join(
        f'<mesh name="cone_{index}" vertex="{_cone(size)}"/>' for index, size in enumerate(SIZES)
    )
    return f'''
<mujoco>
  <option gravity="0 0 0"/>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <quality offsamples="0" shadowsize="0" numslices="28" numstacks="16" numquads="1"/>
    <map znear="0.1" zfar="60"/>
    <headlight ambient="0 0 0" diffuse="0.15 0.15 0.15" specular="0 0 0"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="flat"
             width="{SKY_TEXELS}" height="{SKY_TEXELS * 6}"/>
    <texture name="floor" type="2d" builtin="flat" width="{FLOOR_TEXELS}" height="{FLOOR_TEXELS}"/>
    <material name="floor" texture="floor" texuniform="true" specular="0" reflectance="0"/>
    <material name="thing" specular="0.3" shininess="0.5"/>
    {meshes}
  </asset>
  <worldbody>
    <light name="sun" type="directional" castshadow="false"/>
    <camera name="camera" pos="0 0 1"/>
    <geom name="floor" type="box" size="40 40 0.5" pos="0 0 -0.5" material="floor"
          group="{SHOWN}"/>
    {_geoms()}
  </worldbody>
</mujoco>'''


def _geoms() -> str:
    """Returns the walls, the pool of things, and the blots below them."""
    pool = ''.join(
        f'<geom name="{shape}_{number}" {_TYPES[shape]} material="thing" group="{HIDDEN}"/>'
        for shape in SHAPES
        for number in range(MAX_THINGS)
    )
    blots = ''.join(
        f'<geom name="blot_{number}" type="cylinder" size="1 0.002" rgba="0 0 0 0.4" '
        f'group="{HIDDEN}"/>'
        for number in range(MAX_THINGS)
    )
    walls = ''.join(
        f'<geom name="wall_{number}" type="box" size="0.05 20 2.5" group="{HIDDEN}"/>'
        for number in range(WALLS)
    )
    return walls + pool + blots


def _cone(size: float) -> str:
    half = size * HALF_HEIGHTS['cone']
    ring = [
        (size * math.cos(angle), size * math.sin(angle), -half)
        for angle in (2 * math.pi * side / CONE_SIDES for side in range(CONE_SIDES))
    ]
    return ' '.join(f'{value:.5f}' for point in (*ring, (0.0, 0.0, half)) for value in point)
