# SPDX-License-Identifier: Apache-2.0
"""Writes worlds/: the demo world for Gazebo Sim, its mesh, and its scene as JSON, which sim_camera
shows without Gazebo.
"""

from __future__ import annotations

import json
from pathlib import Path

from gazebo_demo_world import demo_scene, demo_world
from gazebo_sdf import CONE_FILE, cone_obj

from penguin_ros.simulation.scene_file import scene_record

WORLDS = Path(__file__).resolve().parents[1] / 'worlds'


def files() -> dict[str, str]:
    """Returns the text of each file by its name."""
    scene = json.dumps(scene_record(demo_scene()), indent=1) + '\n'
    return {'penguin_demo.sdf': demo_world(), CONE_FILE: cone_obj(), 'penguin_demo.json': scene}


if __name__ == '__main__':
    WORLDS.mkdir(exist_ok=True)
    for name, text in files().items():
        (WORLDS / name).write_text(text, encoding='utf-8')
