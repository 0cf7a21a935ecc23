# SPDX-License-Identifier: Apache-2.0
"""Scenes of the simulated world in which one known thing happens, and rules about them: some whose
condition comes to hold, some whose condition never does.

A scene stands still, then its event happens, then it stands still again; in half of the scenes
another thing moves some time before or after. What holds on each clip follows from the truth of
that clip alone (simulation/truth.py); where that is a matter of opinion, nothing is judged.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.rule import Rule
from penguin_ros.simulation import words
from penguin_ros.simulation.language import noun
from penguin_ros.simulation.random_look import random_camera, random_look
from penguin_ros.simulation.random_scene import Placement, placed
from penguin_ros.simulation.scene import COLOURS, SHAPES, Scene, Thing
from penguin_ros.simulation.truth import Sight, Truth, truth_of
from penguin_ros.simulation.world import Segments, World

KINDS = ('appears', 'leaves', 'moves', 'stops', 'closer', 'count', 'colour', 'order')
"""What happens in a scene."""

SECONDS = 18.0
EVENT_S = {'appear': 3.0, 'leave': 3.0, 'stop': 3.0}
MOTION_S = 4.0
"""How long a motion lasts that EVENT_S does not name."""
FIRST_S = (6.0, 8.0)
"""When the event begins."""
ATTEMPTS = 400

Held = bool | None
"""Whether a condition holds on a clip; None where that is a matter of opinion."""


@dataclass(frozen=True)
class Condition:
    """A rule's condition with its truth."""

    kind: str
    text: str
    holds: Callable[[Truth], Held]
    choices: tuple[str, ...] = ()
    firing_choice: str = ''

    def rule(self, rule_id: str) -> Rule:
        """Returns the rule with the defaults of all numbers."""
        return Rule(rule_id, self.text, choices=self.choices, firing_choice=self.firing_choice)


@dataclass(frozen=True, eq=False)
class RuleScene:
    """A scene with its pictures and the truth of each clip.

    `stamps_s`, `images` and `truths` are as many; a truth is that of the clip which ends there,
    None before there is a whole one.
    """

    seed: int
    kind: str
    scene: Scene
    conditions: tuple[Condition, ...]
    stamps_s: tuple[float, ...]
    images: tuple[np.ndarray, ...]
    truths: tuple[Truth | None, ...]


def rule_scene(world: World, seed: int, kind: str, frames: int, fps: float) -> RuleScene:
    """Returns the scene of a seed in which something of `kind` happens, which is always the same;
    clips have `frames` frames.
    """
    source = random.Random(f'penguin rules {seed} {kind}')
    for _ in range(ATTEMPTS):
        scene = _scene(source, seed, kind)
        if scene is None:
            continue
        stamps = [place / fps for place in range(int(SECONDS * fps) + 1)]
        world.load(scene)
        segments = [world.segment(stamp) for stamp in stamps]
        truths = clip_truths(scene, segments, stamps, frames)
        conditions = _conditions(source, scene, kind, truths)
        if conditions:
            images = tuple(world.render(stamp) for stamp in stamps)
            return RuleScene(seed, kind, scene, conditions, tuple(stamps), images, truths)
    raise AssertionError(f'no scene of kind {kind} was found')


def clip_truths(
    scene: Scene, segments: Sequence[Segments], stamps: Sequence[float], frames: int
) -> tuple[Truth | None, ...]:
    """Returns the truth of the clip that ends at each stamp, None where it is not whole."""
    return tuple(
        truth_of(scene, segments[end - frames + 1 : end + 1], stamps[end - frames + 1], stamps[end])
        if end + 1 >= frames
        else None
        for end in range(len(stamps))
    )


# --- scenes ---------------------------------------------------------------------------------------

_MOTIONS = {
    'appears': ('appear',),
    'leaves': ('leave',),
    'moves': ('left', 'right'),
    'stops': ('stop',),
    'closer': ('toward',),
    'count': ('appear',),
    'colour': ('appear',),
    'order': ('left', 'right'),
}


def _scene(source: random.Random, seed: int, kind: str) -> Scene | None:
    camera = replace(random_camera(source, 1.0, SECONDS), speed=0.0)
    count = source.choice((2, 3) if kind in ('count', 'order') else (1, 2, 3))
    names = source.sample([(shape, colour) for shape in SHAPES for colour in COLOURS], count + 1)
    motions = [source.choice(_MOTIONS[kind])]
    has_other = count > 1 and source.random() < 0.5
    motions += [source.choice(('left', 'right', 'toward', 'away'))] if has_other else []
    motions += ['static'] * (count - len(motions))
    seconds = EVENT_S.get(motions[0], MOTION_S)
    placements = [Placement(*names[index], motion, count) for index, motion in enumerate(motions)]
    things = placed(source, camera, placements, seconds)
    if things is None:
        return None
    first_s = source.uniform(*FIRST_S)
    times = [first_s, source.choice((1.0, 14.0)) if has_other else 0.0]
    things = tuple(
        _later(thing, times[index]) if motions[index] != 'static' else thing
        for index, thing in enumerate(things)
    )
    if not _are_apart(things):
        return None
    look = random_look(source, 1.0)
    return Scene(seed, things, camera, look.light, look.floor, look.background, look.noise, SECONDS)


def _later(thing: Thing, seconds: float) -> Thing:
    motion = thing.motion
    start_s, stop_s = motion.start_s + seconds, motion.stop_s + seconds
    return replace(thing, motion=replace(motion, start_s=start_s, stop_s=stop_s))


def _are_apart(things: Sequence[Thing]) -> bool:
    return all(
        math.dist(one.position(time)[:2], two.position(time)[:2]) > 1.45 * (one.size + two.size)
        for time in np.arange(0.0, SECONDS, 0.5)
        for place, one in enumerate(things)
        for two in things[:place]
    )


# --- conditions -----------------------------------------------------------------------------------


def _conditions(
    source: random.Random, scene: Scene, kind: str, truths: Sequence[Truth | None]
) -> tuple[Condition, ...]:
    """Returns a condition that comes to hold, and two of other kinds or things that never do; ()
    where the scene does not show its event clearly.
    """
    things = scene.things
    positive = _condition(source, kind, things[0], things)
    whole = [truth for truth in truths if truth]
    held = [positive.holds(truth) for truth in whole]
    firm = [one for one in held if one is not None]
    if held.count(True) < 2 or firm[:1] != [False] or held.count(None) > len(held) // 3:
        return ()
    never: list[Condition] = []
    for _ in range(40):
        other = _negative(source, things)
        values = [other.holds(truth) for truth in whole]
        is_sure = True not in values and values.count(None) <= len(values) // 4
        if is_sure and other.text not in [one.text for one in (positive, *never)]:
            never.append(other)
        if len(never) == 2:
            return (positive, *never)
    return ()


def _condition(
    source: random.Random, kind: str, thing: Thing, things: Sequence[Thing]
) -> Condition:
    name = f'{thing.colour} {thing.shape}'
    if kind == 'appears':
        return _exists(source, name)
    if kind == 'leaves':
        return _leaves(source, name)
    if kind == 'count':
        return _count(source, len(things))
    if kind == 'colour':
        return _colour(source, thing)
    if kind == 'order':
        other = source.choice(things[1:])
        side = thing.motion.kind if thing.motion.kind in words.SIDES else 'left'
        return _order(name, f'{other.colour} {other.shape}', side)
    motion = {'moves': thing.motion.kind, 'stops': 'stopped', 'closer': 'toward'}[kind]
    return _motion(source, name, motion)


def _negative(source: random.Random, things: Sequence[Thing]) -> Condition:
    """Returns a condition about the scene's things, or one that is not there, of any kind."""
    kind = source.choice(KINDS)
    thing = source.choice(things)
    name = f'{thing.colour} {thing.shape}'
    if kind == 'appears':
        return _exists(source, f'{source.choice(list(COLOURS))} {source.choice(SHAPES)}')
    if kind == 'count':
        return _count(source, source.randint(2, 5))
    if kind == 'colour':
        return _colour(source, replace(thing, colour=source.choice(list(COLOURS))))
    if kind == 'order' and len(things) > 1:
        other = source.choice([one for one in things if one is not thing])
        return _order(name, f'{other.colour} {other.shape}', source.choice(words.SIDES))
    if kind == 'leaves':
        return _leaves(source, name)
    return _motion(source, name, source.choice(('left', 'right', 'toward', 'away', 'stopped')))


def _exists(source: random.Random, name: str) -> Condition:
    def holds(truth: Truth) -> Held:
        is_there = name in [noun(sight) for sight in truth.present]
        return is_there if truth.is_clear else None

    return Condition('appears', source.choice(words.EXISTS).format(thing=name), holds)


def _leaves(source: random.Random, name: str) -> Condition:
    def holds(truth: Truth) -> Held:
        sight = _sight(truth, name)
        if sight is None or not sight.is_clear:
            return None if sight or not truth.is_clear else False
        return sight.motion == 'gone'

    choices = (*words.DOES.values(), words.CANNOT_SEE)
    text = source.choice(words.MOTION).format(thing=name)
    return Condition('leaves', text, holds, choices, words.DOES['gone'])


def _motion(source: random.Random, name: str, motion: str) -> Condition:
    def holds(truth: Truth) -> Held:
        sight = _sight(truth, name)
        if sight is None or not sight.is_clear or sight.motion == 'gone':
            return None
        if sight.motion == motion:
            return True
        # What stopped or appeared has moved in some direction before.
        return None if sight.motion in ('stopped', 'appeared') else False

    kind = {'stopped': 'stops', 'toward': 'closer'}.get(motion, 'moves')
    return Condition(kind, source.choice(words.IS_IT[motion]).format(thing=name), holds)


def _count(source: random.Random, number: int) -> Condition:
    def holds(truth: Truth) -> Held:
        return truth.count == number if truth.is_clear else None

    text = source.choice(words.COUNT_IS).format(number=words.NUMBERS[number])
    return Condition('count', text, holds)


def _colour(source: random.Random, thing: Thing) -> Condition:
    """What colour the one thing of a shape is; while there is none, that cannot be seen."""

    def holds(truth: Truth) -> Held:
        alike = [sight for sight in truth.sights if sight.shape == thing.shape]
        if not truth.is_clear or len(alike) > 1:
            return None
        return bool(alike) and alike[0].colour == thing.colour and alike[0].is_present

    choices = (*(colour.capitalize() + '.' for colour in COLOURS), words.CANNOT_SEE)
    text = source.choice(words.COLOUR_OF).format(shape=thing.shape)
    return Condition('colour', text, holds, choices, thing.colour.capitalize() + '.')


def _order(name: str, other: str, side: str) -> Condition:
    def holds(truth: Truth) -> Held:
        names = [noun(sight) for sight in truth.present]
        if not truth.is_clear or name not in names or other not in names:
            return None
        is_left = names.index(name) < names.index(other)
        return is_left == (side == 'left')

    text = words.SIDE_IS[0].format(thing=name, other=other, side=side)
    return Condition('order', text, holds)


def _sight(truth: Truth, name: str) -> Sight | None:
    return next((sight for sight in truth.sights if noun(sight) == name), None)


def stamp_ns(seconds: float) -> int:
    """Returns a time of a scene as a stamp."""
    return round(seconds * NANOSECONDS)
