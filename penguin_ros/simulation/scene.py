# SPDX-License-Identifier: Apache-2.0
"""A small world as values: things and their motion, a camera, light, floor, background. Knows
neither how it is drawn nor words.

World frame as in ROS: metres, x forward from where the camera starts, y left, z up, the floor at z
= 0. Time in seconds from the scene's beginning.
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
"""Hues at least 35 degrees apart, so that tinted light changes no name."""

SHAPES = ('box', 'ball', 'cylinder', 'cone')
MOTIONS = ('static', 'left', 'right', 'toward', 'away', 'circle', 'stop', 'appear', 'leave')
SIZES = (0.20, 0.23, 0.26, 0.29, 0.32, 0.35)
"""Radii in metres; a cone exists in these only, since it is a mesh."""

MAX_THINGS = 5


@dataclass(frozen=True)
class Motion:
    """How a thing moves on the floor: along `velocity` from `start_s` to `stop_s`, or in a circle
    around its place.

    `kind` one of MOTIONS, what the scene meant; `velocity` (x, y) in m/s; `radius` in metres,
    `rate` in rad/s (positive is anticlockwise from above), `phase` in rad, for circles.
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
    """One object standing on the floor. `size` its radius (half the side of a box) in metres, one
    of SIZES; `place` (x, y) at time 0 or the centre of its circle; `yaw` in rad.
    """

    shape: str
    colour: str
    size: float
    place: tuple[float, float]
    yaw: float = 0.0
    motion: Motion = Motion()

    @property
    def half_height(self) -> float:
        """Half its height in metres, also the height of its middle."""
        return self.size * HALF_HEIGHTS[self.shape]

    def position(self, seconds: float) -> tuple[float, float, float]:
        """(x, y, z) of its middle in metres."""
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
    """`height` in metres, `pitch` in rad below the horizon, `fov_y` in rad from top to bottom.

    It drives forward at `speed` m/s and sways by `sway` rad at `sway_hz`, as on a robot.
    """

    height: float = 0.8
    pitch: float = 0.28
    fov_y: float = 0.9
    speed: float = 0.0
    sway: float = 0.0
    sway_hz: float = 0.25

    def pose(self, seconds: float) -> tuple[tuple[float, float, float], float]:
        """(x, y, z) in metres and the yaw in rad."""
        return (self.speed * seconds, 0.0, self.height), self.sway * math.sin(
            2 * math.pi * self.sway_hz * seconds
        )


@dataclass(frozen=True)
class Light:
    """`direction` in which the sun shines, `sun` and `ambient` its and the surrounding light's RGB;
    `shadow` 0..1, the darkness of the blot below each thing.
    """

    direction: tuple[float, float, float] = (0.4, -0.3, -1.0)
    sun: Rgb = (0.55, 0.55, 0.55)
    ambient: Rgb = (0.45, 0.45, 0.45)
    shininess: float = 0.3
    shadow: float = 0.4


@dataclass(frozen=True)
class Floor:
    """`pattern` one of FLOORS, in two colours, `tile` metres per square."""

    pattern: str = 'plain'
    colour: Rgb = (0.5, 0.5, 0.5)
    second: Rgb = (0.4, 0.4, 0.4)
    tile: float = 0.5


FLOORS = ('plain', 'checker', 'grain', 'planks')


@dataclass(frozen=True)
class Background:
    """A sky from `horizon` to `zenith`; with `wall_distance` > 0 a wall of colour `wall` that far
    ahead.
    """

    horizon: Rgb = (0.75, 0.80, 0.86)
    zenith: Rgb = (0.45, 0.60, 0.80)
    wall_distance: float = 0.0
    wall: Rgb = (0.7, 0.7, 0.66)


@dataclass(frozen=True)
class Scene:
    """One world. `noise`: standard deviation of each pixel in steps of 0..255; `seconds`: how long
    its motion was planned for.
    """

    seed: int
    things: tuple[Thing, ...]
    camera: Camera = Camera()
    light: Light = Light()
    floor: Floor = Floor()
    background: Background = Background()
    noise: float = 0.0
    seconds: float = 3.5
