# SPDX-License-Identifier: Apache-2.0
"""Where a thing lies in the image, by geometry alone: nothing is drawn, and nothing hides
another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from penguin_ros.simulation.scene import Camera, Scene, Thing

ASPECT = 1.5  # width over height of the pictures that scenes are planned for


@dataclass(frozen=True)
class Spot:
    """A place in the image.

    `u` is from -0.5 (left edge) to 0.5 (right edge), `top` and `bottom` are from -0.5 (top edge) to
    0.5, `half_width` is in image widths, `depth` in metres along the camera's axis.
    """

    u: float
    top: float
    bottom: float
    half_width: float
    depth: float

    @property
    def is_inside(self) -> bool:
        """Whether it is wholly in the image, with a small margin."""
        return abs(self.u) + self.half_width < 0.49 and self.top > -0.49 and self.bottom < 0.49

    @property
    def is_outside(self) -> bool:
        """Whether it is wholly out of the image, with a small margin."""
        return abs(self.u) - self.half_width > 0.52


def spot(scene: Scene, thing: Thing, seconds: float, aspect: float = ASPECT) -> Spot:
    """Returns the place of a thing in the image at a time."""
    return spot_of(scene.camera, thing, seconds, aspect)


def spot_of(camera: Camera, thing: Thing, seconds: float, aspect: float = ASPECT) -> Spot:
    """Returns the same as `spot`, from the camera alone."""
    (cx, cy, cz), yaw = camera.pose(seconds)
    x, y, z = thing.position(seconds)
    ahead = (x - cx) * math.cos(yaw) + (y - cy) * math.sin(yaw)
    left = -(x - cx) * math.sin(yaw) + (y - cy) * math.cos(yaw)
    scale = 1.0 / (2.0 * math.tan(camera.fov_y / 2))  # picture heights per unit of tangent
    depth = max(0.05, ahead * math.cos(camera.pitch) + (cz - z) * math.sin(camera.pitch))
    radius = thing.size * (1.25 if thing.shape == 'box' else 1.0)
    return Spot(
        -left / depth * scale / aspect,
        _row(camera, ahead, cz - z - thing.half_height) * scale,
        _row(camera, max(0.1, ahead - thing.size), cz) * scale,
        radius / depth * scale / aspect,
        depth,
    )


def _row(camera: Camera, ahead: float, below: float) -> float:
    """Returns the tangent below the middle of the image of a point `ahead` metres ahead and `below`
    metres below the camera.
    """
    depth = max(0.05, ahead * math.cos(camera.pitch) + below * math.sin(camera.pitch))
    return (below * math.cos(camera.pitch) - ahead * math.sin(camera.pitch)) / depth
