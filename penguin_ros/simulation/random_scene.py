# SPDX-License-Identifier: Apache-2.0
"""Random scenes by seed: what is in them and what moves. Knows the rules that make a scene clear to see, nothing of drawing."""
from __future__ import annotations

import random
from dataclasses import dataclass

from penguin_ros.simulation.placement import Plan, placed
from penguin_ros.simulation.random_look import random_camera, random_look
from penguin_ros.simulation.scene import COLOURS, SHAPES, Camera, Scene, Thing


@dataclass(frozen=True)
class Level:
    """What scenes of a level hold: the numbers of things, the motions to draw from, the share of things that move, and how much
    light, floor, background and camera vary (0..1)."""

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
    """The scene of a seed: every motion is clear when all of 0..`seconds` is watched; with 0 nothing moves.

    Level 1: one to three things that stand still; 2: some of them move; 3: up to four, some of which appear or leave, a moving
    camera, and more kinds of light, floor and background; 4: as 3, but half of what moves appears or leaves.
    """
    rules = LEVELS[level]
    source = random.Random(f'penguin scene {seed} {level} {seconds:.3f}')
    count = source.choice(rules.counts)
    while True:
        for _ in range(ATTEMPTS):
            camera = random_camera(source, rules.variety, seconds)
            plans = _plans(source, rules, count, seconds)
            things = placed(source, camera, plans, seconds)
            if things is not None:
                return _finished(source, seed, rules, camera, things, seconds)
        count -= 1  # so many do not fit; one alone always does


def _plans(source: random.Random, rules: Level, count: int, seconds: float) -> list[Plan]:
    pairs = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    plans = []
    for shape, colour in source.sample(pairs, count):
        is_moving = seconds > 0 and rules.motions and source.random() < rules.moving_share
        plans.append(Plan(shape, colour, source.choice(rules.motions) if is_moving else 'static', count))
    return plans


def _finished(source: random.Random, seed: int, rules: Level, camera: Camera, things: tuple[Thing, ...], seconds: float) -> Scene:
    look = random_look(source, rules.variety)
    return Scene(seed, things, camera, look.light, look.floor, look.background, look.noise, seconds)
