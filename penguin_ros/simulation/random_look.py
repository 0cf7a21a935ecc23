# SPDX-License-Identifier: Apache-2.0
"""Random cameras, light, floors and backgrounds: how a scene looks, without its things.

They vary widely on purpose, because a model that learnt here has to cope with another renderer.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from penguin_ros.simulation.scene import FLOORS, Background, Camera, Floor, Light, Rgb


@dataclass(frozen=True)
class Look:
    """Everything about a scene's looks except its things and its camera."""

    light: Light
    floor: Floor
    background: Background
    noise: float


def random_camera(source: random.Random, variety: float, seconds: float) -> Camera:
    """Returns a camera that looks at the floor 2.4 to 3.2 m ahead; with full variety every second
    one moves, by less than would be taken for a motion of the things.
    """
    height = source.uniform(0.85 - 0.3 * variety, 0.85 + 0.35 * variety)
    pitch = math.atan2(height, source.uniform(2.8 - 0.4 * variety, 2.8 + 0.4 * variety))
    fov_y = source.uniform(0.9 - 0.1 * variety, 0.9 + 0.12 * variety)
    speed = sway = 0.0
    if variety >= 1.0 and seconds > 0 and source.random() < 0.5:
        speed, sway = source.uniform(0.0, 0.15) / seconds, source.uniform(-0.04, 0.04)
    return Camera(height, pitch, fov_y, speed, sway, source.uniform(0.1, 0.3))


def random_look(source: random.Random, variety: float) -> Look:
    """Returns neutral floors and backgrounds under light of varied strength, direction and tint."""
    tint = 0.10 * variety
    sun = source.uniform(0.55 - 0.2 * variety, 0.55 + 0.2 * variety)
    ambient = source.uniform(0.45 - 0.1 * variety, 0.5)
    angle = source.uniform(-2.0, 2.0)  # seldom against the camera
    steepness = source.uniform(0.2, 0.4 + 0.8 * variety)
    direction = (math.cos(angle) * steepness, math.sin(angle) * steepness, -1.0)
    light = Light(
        direction,
        _tinted(source, sun, tint),
        _tinted(source, ambient, tint),
        source.uniform(0.0, 0.7 * variety),
        source.uniform(0.0, 0.45),
    )
    noise = source.uniform(0.0, 8.0) if source.random() < 0.5 * variety else 0.0
    return Look(light, _random_floor(source, variety), _random_background(source, variety), noise)


def _random_floor(source: random.Random, variety: float) -> Floor:
    brightness = source.uniform(0.30, 0.72)
    colour = _tinted(source, brightness, 0.10 * variety)
    second = _tinted(
        source,
        max(0.2, min(0.8, brightness + source.choice((-1, 1)) * source.uniform(0.06, 0.2))),
        0.10 * variety,
    )
    return Floor(
        source.choice(FLOORS[:2] if variety < 0.5 else FLOORS),
        colour,
        second,
        source.uniform(0.3, 1.0),
    )


def _random_background(source: random.Random, variety: float) -> Background:
    horizon = _tinted(source, source.uniform(0.55, 0.9), 0.06)
    zenith = (source.uniform(0.3, 0.8), source.uniform(0.45, 0.85), source.uniform(0.6, 0.95))
    distance = source.uniform(5.5, 9.0) if source.random() < 0.5 * variety else 0.0
    return Background(
        horizon, zenith, distance, _tinted(source, source.uniform(0.4, 0.85), 0.12 * variety)
    )


def _tinted(source: random.Random, brightness: float, tint: float) -> Rgb:
    red, green, blue = (
        max(0.0, min(1.0, brightness * (1 + source.uniform(-tint, tint)))) for _ in range(3)
    )
    return red, green, blue
