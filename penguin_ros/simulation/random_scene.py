# SPDX-License-Identifier: Apache-2.0
"""Random scenes by seed: what is in them and what moves.

Places and paths are drawn until a watcher can tell what happens, by the geometry of the view.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from penguin_ros.simulation.motion_seen import motion_seen
from penguin_ros.simulation.random_look import random_camera, random_look
from penguin_ros.simulation.scene import COLOURS, SHAPES, SIZES, Camera, Motion, Scene, Thing
from penguin_ros.simulation.view import ASPECT, Spot, spot_of

TRIES = 60
NEAREST_M, FARTHEST_M = 1.7, 4.0
# The least share of the image that a thing's outline covers where the thing is to be seen.
MIN_AREA = 170 / (168 * 112)
MIN_SHIFT, MAX_SHIFT = 0.2, 0.5
MIN_GROWTH, MAX_GROWTH = 0.42, 0.8
SAMPLES = 8

_SEEN_AS = {'static': 'still', 'stop': 'stopped'}  # the others are seen as what they are


@dataclass(frozen=True)
class Placement:
    """A thing that shall be placed, and how it shall move; `count` things share the image."""

    shape: str
    colour: str
    motion: str
    count: int


def placed(
    source: random.Random, camera: Camera, placements: list[Placement], seconds: float
) -> tuple[Thing, ...] | None:
    """Returns the things at places where all is clear to see; None when chance found none."""
    things: tuple[Thing, ...] = ()
    for placement in placements:
        for _ in range(TRIES):
            thing = _drawn(source, camera, placement, seconds)
            if _is_clear(camera, thing, seconds) and all(
                _is_apart(camera, thing, other, seconds) for other in things
            ):
                things = (*things, thing)
                break
        else:
            return None
    return things


def floor_point(camera: Camera, u: float, ahead: float) -> tuple[float, float]:
    """Returns (x, y) of the floor `ahead` metres ahead that lies at `u` of the image while the
    camera is at its starting point.
    """
    depth = ahead * math.cos(camera.pitch) + camera.height * math.sin(camera.pitch)
    return ahead, -u * ASPECT * 2 * math.tan(camera.fov_y / 2) * depth


def _drawn(source: random.Random, camera: Camera, placement: Placement, seconds: float) -> Thing:
    size = source.choice(SIZES[1:] if placement.count <= 3 else SIZES[:4])
    u, ahead = source.uniform(-0.42, 0.42), source.uniform(NEAREST_M, FARTHEST_M)
    thing = Thing(
        placement.shape,
        placement.colour,
        size,
        floor_point(camera, u, ahead),
        source.uniform(0, math.pi / 2),
    )
    if placement.motion == 'static':
        return thing
    if placement.motion == 'circle':
        return replace(thing, motion=_circle(source, seconds))
    return _moved(
        source, camera, replace(thing, motion=Motion(placement.motion)), (u, ahead), seconds
    )


def _circle(source: random.Random, seconds: float) -> Motion:
    rate = source.uniform(math.radians(285), math.radians(400)) / seconds * source.choice((-1, 1))
    radius = source.uniform(0.35, 0.55)
    return Motion('circle', radius=radius, rate=rate, phase=source.uniform(0, 2 * math.pi))


def _moved(
    source: random.Random,
    camera: Camera,
    thing: Thing,
    place: tuple[float, float],
    seconds: float,
) -> Thing:
    """Gives the thing a straight path for its kind of motion; `place` is its (u, ahead)."""
    kind = direction = thing.motion.kind
    (u, ahead), (end_u, end_ahead) = place, place
    start_s, stop_s = 0.0, seconds
    if kind == 'stop':
        stop_s = seconds * source.uniform(0.4, 0.6)
        direction = source.choice(('left', 'right', 'toward', 'away'))
    if direction in ('left', 'right'):
        end_u += source.uniform(MIN_SHIFT, MAX_SHIFT) * (1 if direction == 'right' else -1)
    elif direction in ('toward', 'away'):
        growth = source.uniform(MIN_GROWTH, MAX_GROWTH)
        end_ahead *= math.exp(-growth if direction == 'toward' else growth)
    else:  # in or out, at the nearer side or not
        start_s, stop_s = seconds * source.uniform(0.05, 0.35), seconds * source.uniform(0.65, 0.9)
        end_u = source.choice((-0.75, 0.75))
        if kind == 'appear':
            u, end_u = end_u, u
    begin, end = floor_point(camera, u, ahead), floor_point(camera, end_u, end_ahead)
    velocity = ((end[0] - begin[0]) / (stop_s - start_s), (end[1] - begin[1]) / (stop_s - start_s))
    return replace(thing, place=begin, motion=Motion(kind, velocity, start_s, stop_s))


def _is_clear(camera: Camera, thing: Thing, seconds: float) -> bool:
    first, last = spot_of(camera, thing, 0.0), spot_of(camera, thing, seconds)
    kind = thing.motion.kind
    if not (first.is_outside if kind == 'appear' else _is_seen(thing, first)):
        return False
    if not (last.is_outside if kind == 'leave' else _is_seen(thing, last)):
        return False
    if kind in ('appear', 'leave'):
        return True
    if kind == 'circle' and not all(
        _is_seen(thing, spot_of(camera, thing, time)) for time in _times(seconds)
    ):
        return False
    return motion_seen(Scene(0, (thing,), camera), thing, 0.0, seconds) == (
        _SEEN_AS.get(kind, kind),
        True,
    )


def _is_seen(thing: Thing, place: Spot) -> bool:
    area = (
        2 * place.half_width * (place.bottom - place.top) * (0.5 if thing.shape == 'cone' else 0.75)
    )
    return place.is_inside and area >= MIN_AREA


def _is_apart(camera: Camera, thing: Thing, other: Thing, seconds: float) -> bool:
    """Returns whether neither runs into the other or hides it at the beginning or the end, and
    whether their order is no matter of opinion.
    """
    for time, share, least in ((0.0, 0.7, 0.0), (seconds, 0.9, 0.09)):
        one, two = spot_of(camera, thing, time), spot_of(camera, other, time)
        if abs(one.u - two.u) < max(least, share * (one.half_width + two.half_width)):
            return False
    return all(
        math.dist(thing.position(time)[:2], other.position(time)[:2])
        > 1.45 * (thing.size + other.size)
        for time in _times(seconds)
    )


def _times(seconds: float) -> list[float]:
    return [seconds * step / (SAMPLES - 1) for step in range(SAMPLES)] if seconds > 0 else [0.0]


@dataclass(frozen=True)
class Level:
    """What the scenes of a level contain.

    `counts` are the numbers of things, `motions` the motions to draw from, `moving_share` the share
    of things that move; `variety` (0..1) is how much light, floor, background and camera vary.
    """

    counts: tuple[int, ...]
    motions: tuple[str, ...]
    moving_share: float
    variety: float


_PLAIN_MOTIONS = ('left', 'right', 'toward', 'away', 'circle', 'stop')
LEVELS = {
    1: Level((1, 2, 3), (), 0.0, 0.4),
    2: Level((1, 2, 3), _PLAIN_MOTIONS, 0.6, 0.6),
    3: Level((1, 2, 3, 4), (*_PLAIN_MOTIONS, 'appear', 'leave'), 0.55, 1.0),
    4: Level((2, 3, 4), (*_PLAIN_MOTIONS, *('appear', 'leave') * 3), 0.55, 1.0),
}
ATTEMPTS = 40


def random_scene(seed: int, level: int = 3, seconds: float = 3.5) -> Scene:
    """Returns the scene of a seed, in which every motion is clear when all of 0..`seconds` is
    watched; with 0 seconds nothing moves.

    Level 1: one to three things that stand still; 2: some of them move; 3: up to four, some of
    which appear or leave, a moving camera, and more kinds of light, floor and background; 4: as 3,
    but half of what moves appears or leaves.
    """
    rules = LEVELS[level]
    source = random.Random(f'penguin scene {seed} {level} {seconds:.3f}')
    count = source.choice(rules.counts)
    while True:
        for _ in range(ATTEMPTS):
            camera = random_camera(source, rules.variety, seconds)
            placements = _placements(source, rules, count, seconds)
            things = placed(source, camera, placements, seconds)
            if things is not None:
                return _finished(source, seed, rules, camera, things, seconds)
        count -= 1  # so many do not fit; one alone always does


def _placements(source: random.Random, rules: Level, count: int, seconds: float) -> list[Placement]:
    pairs = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    placements = []
    for shape, colour in source.sample(pairs, count):
        is_moving = seconds > 0 and rules.motions and source.random() < rules.moving_share
        placements.append(
            Placement(shape, colour, source.choice(rules.motions) if is_moving else 'static', count)
        )
    return placements


def _finished(
    source: random.Random,
    seed: int,
    rules: Level,
    camera: Camera,
    things: tuple[Thing, ...],
    seconds: float,
) -> Scene:
    look = random_look(source, rules.variety)
    return Scene(seed, things, camera, look.light, look.floor, look.background, look.noise, seconds)
