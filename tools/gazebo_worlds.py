# SPDX-License-Identifier: Apache-2.0
"""Held-out scenes as worlds for Gazebo Classic, with their meshes and floors as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gazebo_sdf import CONE_FILE, SdfOptions, cone_obj, world_sdf
from PIL import Image

from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.truth import truth
from penguin_ros.simulation.world import World
from penguin_ros.simulation.world_model import floor_texels

# of the held-out seeds: other scenes than those of penguin score and of the end-to-end test
FIRST = 6000
SECONDS = 3.0
LEAD_S = 2.0
"""Simulated time before the motion begins, which the camera needs to see everything: at first it
draws only some things.
"""
AFTER_S = 2.0
PLANE_M, TEXELS = 80.0, 128
_MATERIAL = """material Penguin/Floor
{{
  technique
  {{
    pass
    {{
      ambient 1 1 1 1
      diffuse 1 1 1 1
      specular 0 0 0 1 0
      texture_unit
      {{
        texture {file}
        filtering trilinear
        scale {scale:.6f} {scale:.6f}
      }}
    }}
  }}
}}
"""


def moving_scenes(world: World, level: int, first: int = FIRST) -> Iterator[Scene]:
    """Yields held-out scenes in the order of their seeds, without those that cannot serve: whose
    camera moves, in which nothing moves, or about which opinions may differ. No model has a say in
    it.
    """
    for seed in HELD_OUT[first:]:
        scene = random_scene(seed, level, SECONDS)
        has_motion = any(thing.motion.kind != 'static' for thing in scene.things)
        if (
            has_motion
            and not scene.camera.speed
            and not scene.camera.sway
            and truth(scene, world, 0.0, SECONDS).is_clear
        ):
            yield scene


def write_world(scene: Scene, folder: Path, uri: str, rate_hz: float) -> Path:
    """Writes the world and what it needs into `folder`, which the server knows as `uri`; returns
    the world's file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONE_FILE).write_text(cone_obj())
    script = None
    if scene.floor.pattern != 'plain':
        texture = f'floor_{scene.seed}.png'
        Image.fromarray(floor_texels(scene.floor, TEXELS, scene.seed)).save(folder / texture)
        (folder / 'floor.material').write_text(
            _MATERIAL.format(file=texture, scale=2 * scene.floor.tile / PLANE_M)
        )
        script = (uri, 'Penguin/Floor')
    options = SdfOptions(
        is_classic=True,
        rate_hz=rate_hz,
        delay_s=LEAD_S,
        seconds=SECONDS + AFTER_S,
        mesh_folder=uri,
        floor_script=script,
    )
    path = folder / 'world.sdf'
    path.write_text(world_sdf(scene, options))
    return path
