# SPDX-License-Identifier: Apache-2.0
"""The scene of worlds/penguin_demo.sdf, and how it becomes that file.

Its truth is the same at any time, because everything that moves goes round in a circle, again and
again.
"""

from __future__ import annotations

import math

from gazebo_sdf import SdfOptions, world_sdf

from penguin_ros.simulation.scene import Background, Camera, Floor, Light, Motion, Scene, Thing

PERIOD_S = 3.0
"""The period of both circles, and so of the scripted trajectories, which thereby close."""


def demo_scene() -> Scene:
    """Returns a red ball and a cyan cylinder that circle, with a blue box and a yellow cone
    standing between and beside them.
    """
    rate = 2 * math.pi / PERIOD_S
    things = (
        Thing('ball', 'red', 0.26, (2.9, 1.25), motion=Motion('circle', radius=0.4, rate=rate)),
        Thing('box', 'blue', 0.26, (2.5, 0.28), 0.5),
        Thing(
            'cylinder',
            'cyan',
            0.23,
            (3.0, -0.62),
            motion=Motion('circle', radius=0.4, rate=-rate, phase=math.pi / 2),
        ),
        Thing('cone', 'yellow', 0.26, (2.6, -1.45), 0.2),
    )
    light = Light(direction=(0.3, -0.3, -1.0), shininess=0.1, shadow=0.0)
    return Scene(
        0,
        things,
        Camera(height=0.9, pitch=0.31, fov_y=0.92),
        light,
        Floor(),
        Background(),
        seconds=PERIOD_S,
    )


def demo_world() -> str:
    """Returns the text of worlds/penguin_demo.sdf, for Gazebo Sim."""
    return world_sdf(demo_scene(), SdfOptions(seconds=PERIOD_S, loops=True, has_shadows=True))
