# SPDX-License-Identifier: Apache-2.0
"""The one MuJoCo model of all scenes, as MJCF text: a pool of geoms of every shape. Knows no scene and does no drawing."""
from __future__ import annotations

import math

from penguin_ros.simulation.scene import HALF_HEIGHTS, MAX_THINGS, SHAPES, SIZES

SHOWN, BLOTS, HIDDEN = 0, 1, 5
"""Groups of geoms: things, floor and walls drawn; the blots below things, not part of them; not drawn."""

FLOOR_TEXELS, SKY_TEXELS = 64, 32
WALLS = 3
CONE_SIDES = 24

_TYPES = {'box': 'type="box" size="1 1 1"', 'ball': 'type="sphere" size="1"', 'cylinder': 'type="cylinder" size="1 1"',
          'cone': 'type="mesh" mesh="cone_0"'}


def model_xml(width: int, height: int) -> str:
    """MJCF for pictures of up to width x height pixels: no multisampling, no shadows."""
    meshes = ''.join(f'<mesh name="cone_{index}" vertex="{_cone(size)}"/>' for index, size in enumerate(SIZES))
    pool = ''.join(f'<geom name="{shape}_{number}" {_TYPES[shape]} material="thing" group="{HIDDEN}"/>'
                   for shape in SHAPES for number in range(MAX_THINGS))
    blots = ''.join(f'<geom name="blot_{number}" type="cylinder" size="1 0.002" rgba="0 0 0 0.4" group="{HIDDEN}"/>'
                    for number in range(MAX_THINGS))
    walls = ''.join(f'<geom name="wall_{number}" type="box" size="0.05 20 2.5" group="{HIDDEN}"/>' for number in range(WALLS))
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
    <texture name="sky" type="skybox" builtin="flat" width="{SKY_TEXELS}" height="{SKY_TEXELS * 6}"/>
    <texture name="floor" type="2d" builtin="flat" width="{FLOOR_TEXELS}" height="{FLOOR_TEXELS}"/>
    <material name="floor" texture="floor" texuniform="true" specular="0" reflectance="0"/>
    <material name="thing" specular="0.3" shininess="0.5"/>
    {meshes}
  </asset>
  <worldbody>
    <light name="sun" type="directional" castshadow="false"/>
    <camera name="camera" pos="0 0 1"/>
    <geom name="floor" type="box" size="40 40 0.5" pos="0 0 -0.5" material="floor" group="{SHOWN}"/>
    {walls}{pool}{blots}
  </worldbody>
</mujoco>'''


def _cone(size: float) -> str:
    half = size * HALF_HEIGHTS['cone']
    ring = [(size * math.cos(angle), size * math.sin(angle), -half)
            for angle in (2 * math.pi * side / CONE_SIDES for side in range(CONE_SIDES))]
    return ' '.join(f'{value:.5f}' for point in (*ring, (0.0, 0.0, half)) for value in point)
