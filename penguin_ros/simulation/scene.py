# SPDX-License-Identifier: Apache-2.0
"""A small world as values: things and their motion, a camera, light, floor and background.

The world frame is that of ROS: metres, x forward from where the camera starts, y left, z up, the
floor at z = 0. Times are in seconds from the scene's beginning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Rgb = tuple[float, float, float]
"""Red, green, blue in 0..1."""

COLOURS: dict[str, Rgb] = {
    'red': (0.85, 0.06, 0.05),
    'yellow': (0.95, 0.82, 0.05),
    'green': (0.08, 0.58, 0.12),
    'cyan': (0.10, 0.78, 0.85),
    'blue': (0.06, 0.16, 0.82),
    'pink': (0.95, 0.30, 0.70),
    'white': (0.97, 0.97, 0.97),
    'black': (0.09, 0.09, 0.09),
}
"""Their hues are at least 35 degrees apart, so that tinted light changes no name."""

SHAPES = ('box', 'ball', 'cylinder', 'cone')
MOTIONS = ('static', 'left', 'right', 'toward', 'away', 'circle', 'stop', 'appear', 'leave')
SIZES = (0.20, 0.23, 0.26, 0.29, 0.32, 0.35)
"""Radii in metres; a cone exists only in these, since it is a mesh."""

MAX_THINGS = 5


@dataclass(frozen=True)
class Motion:
    """How a thing moves on the floor: along `velocity` from `start_s` to `stop_s`, or in a circle
    around its place.

    `kind` is one of MOTIONS and says what the scene meant; `velocity` is (x, y) in m/s. For
    circles, `radius` is in metres, `rate` in rad/s (positive is anticlockwise from above), `phase`
    in rad.
    """

    kind: str = 'static'
    velocity: tuple[float, float] = (0.0, 0.0)
    start_s: float = 0.0
    stop_s: float = math.inf
    radius: float = 0.0
    rate: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Thing:
    """One object standing on the floor.

    `size` is its radius (half the side of a box) in metres, one of SIZES; `place` is (x, y) at time
    0, or the centre of its circle; `yaw` is in rad.
    """

    shape: str
    colour: str
    size: float
    place: tuple[float, float]
    yaw: float = 0.0
    motion: Motion = Motion()

    @property
    def half_height(self) -> float:
        """Half its height in metres, which is also the height of its middle."""
        return self.size * HALF_HEIGHTS[self.shape]

    def position(self, seconds: float) -> tuple[float, float, float]:
        """Returns (x, y, z) of its middle in metres."""
        motion, (x, y) = self.motion, self.place
        if motion.kind == 'circle':
            angle = motion.phase + motion.rate * seconds
            return (
                x + motion.radius * math.cos(angle),
                y + motion.radius * math.sin(angle),
                self.half_height,
            )
        moved = max(0.0, min(seconds, motion.stop_s) - motion.start_s)
        return x + motion.velocity[0] * moved, y + motion.velocity[1] * moved, self.half_height


HALF_HEIGHTS = {'box': 0.75, 'ball': 1.0, 'cylinder': 1.8, 'cone': 1.25}
"""Half the height in radii: a box is squat and a cylinder tall, so that a few pixels tell them
apart.
"""


@dataclass(frozen=True)
class Camera:
    """A camera at `height` metres, pitched `pitch` rad below the horizon, with a field of view of
    `fov_y` rad from top to bottom.

    It drives forward at `speed` m/s and sways by `sway` rad at `sway_hz`, as on a robot.
    """

    height: float = 0.8
    pitch: float = 0.28
    fov_y: float = 0.9
    speed: float = 0.0
    sway: float = 0.0
    sway_hz: float = 0.25

    def pose(self, seconds: float) -> tuple[tuple[float, float, float], float]:
        """Returns (x, y, z) in metres and the yaw in rad."""
        return (self.speed * seconds, 0.0, self.height), self.sway * math.sin(
            2 * math.pi * self.sway_hz * seconds
        )


@dataclass(frozen=True)
class Light:
    """The sun and the surrounding light.

    `direction` is where the sun shines to; `sun` and `ambient` are the RGB of its light and of the
    surrounding light; `shadow` in 0..1 is how dark the blot below each thing is.
    """

    direction: tuple[float, float, float] = (0.4, -0.3, -1.0)
    sun: Rgb = (0.55, 0.55, 0.55)
    ambient: Rgb = (0.45, 0.45, 0.45)
    shininess: float = 0.3
    shadow: float = 0.4


@dataclass(frozen=True)
class Floor:
    """A floor with a `pattern` of FLOORS in two colours; `tile` is in metres per square."""

    pattern: str = 'plain'
    colour: Rgb = (0.5, 0.5, 0.5)
    second: Rgb = (0.4, 0.4, 0.4)
    tile: float = 0.5


FLOORS = ('plain', 'checker', 'grain', 'planks')


@dataclass(frozen=True)
class Background:
    """A sky from `horizon` to `zenith`; with `wall_distance` > 0 a wall of colour `wall` at that
    distance.
    """

    horizon: Rgb = (0.75, 0.80, 0.86)
    zenith: Rgb = (0.45, 0.60, 0.80)
    wall_distance: float = 0.0
    wall: Rgb = (0.7, 0.7, 0.66)


@dataclass(frozen=True)
class Scene:
    """One world. `noise` is the standard deviation of each pixel in steps of 0..255; `seconds` is
    how long its motion was planned for.
    """

    seed: int
    things: tuple[Thing, ...]
    camera: Camera = Camera()
    light: Light = Light()
    floor: Floor = Floor()
    background: Background = Background()
    noise: float = 0.0
    seconds: float = 3.5
