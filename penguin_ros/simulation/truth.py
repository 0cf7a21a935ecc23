# SPDX-License-Identifier: Apache-2.0
"""What a watcher of a scene could truly tell about a stretch of time, from the scene and from which
pixels show what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penguin_ros.simulation.motion_seen import motion_seen
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.view import spot
from penguin_ros.simulation.world import Segments, World

SEEN_SHARE = 60 / (168 * 112)
"""The least share of the image that a thing covers to count as seen."""
UNSURE_SHARE = 15 / (168 * 112)
"""Between this share and SEEN_SHARE nobody can say whether a thing is seen."""
CLEAR_GAP = 0.06
"""Image widths between two things below which their order is a matter of opinion."""

Name = tuple[str, str]
"""(colour, shape)"""


@dataclass(frozen=True)
class Sight:
    """One thing that was seen.

    `motion` is one of motion_seen.SEEN; `u` is where the thing is at the end, from -0.5 (left) to
    0.5. `is_present`: it is in the image at the end. `is_clear`: nobody could describe its motion,
    coming or going otherwise.
    """

    index: int
    colour: str
    shape: str
    motion: str
    u: float
    is_present: bool
    is_clear: bool

    @property
    def name(self) -> Name:
        """(colour, shape)"""
        return self.colour, self.shape


@dataclass(frozen=True)
class Truth:
    """The sights of a stretch of time: first those present at its end from left to right, then
    those that are gone.

    `is_clear`: no sight, count or order is a matter of opinion.
    """

    start_s: float
    end_s: float
    sights: tuple[Sight, ...]
    is_clear: bool

    @property
    def present(self) -> tuple[Sight, ...]:
        """What is in the image at the end, from left to right."""
        return tuple(sight for sight in self.sights if sight.is_present)

    @property
    def gone(self) -> tuple[Sight, ...]:
        """What was in the image and is not at the end."""
        return tuple(sight for sight in self.sights if not sight.is_present)

    @property
    def count(self) -> int:
        """The number of things in the image at the end."""
        return len(self.present)

    @property
    def order(self) -> tuple[Name, ...]:
        """The names of those present from left to right."""
        return tuple(sight.name for sight in self.present)

    @property
    def changed(self) -> tuple[Sight, ...]:
        """Whatever did not just stand still."""
        return tuple(sight for sight in self.sights if sight.motion != 'still')


def truth(scene: Scene, world: World, start_s: float, end_s: float, samples: int = 8) -> Truth:
    """Returns the truth from start to end, both included, as seen at `samples` times; the world is
    left with the scene loaded.
    """
    world.load(scene)
    times = np.linspace(start_s, end_s, samples if end_s > start_s else 1)
    return truth_of(scene, [world.segment(float(time)) for time in times], start_s, end_s)


def truth_of(scene: Scene, segments: Sequence[Segments], start_s: float, end_s: float) -> Truth:
    """Returns the same as `truth`, from segments drawn before: the first at start_s, the last at
    end_s.
    """
    aspect = segments[0].shape[1] / segments[0].shape[0]
    shares = np.array(
        [[np.mean(segment == index) for index in range(len(scene.things))] for segment in segments]
    )
    sights = []
    for index, thing in enumerate(scene.things):
        seen = shares[:, index] >= SEEN_SHARE
        if not seen.any():
            continue
        motion, is_clear = motion_seen(scene, thing, start_s, end_s)
        if not seen[-1]:
            motion, is_clear = 'gone', bool(seen[0])
        elif not seen[0]:
            motion, is_clear = 'appeared', True
        is_clear = is_clear and not any(
            UNSURE_SHARE < share < SEEN_SHARE for share in shares[(0, -1), index]
        )
        place = spot(scene, thing, end_s, aspect)
        sights.append(
            Sight(index, thing.colour, thing.shape, motion, place.u, bool(seen[-1]), is_clear)
        )
    sights.sort(key=lambda sight: (not sight.is_present, sight.u))
    present = [sight.u for sight in sights if sight.is_present]
    is_ordered = all(
        right - left >= CLEAR_GAP for left, right in zip(present, present[1:], strict=False)
    )
    is_sure = not ((shares[-1] > UNSURE_SHARE) & (shares[-1] < SEEN_SHARE)).any()
    return Truth(
        start_s,
        end_s,
        tuple(sights),
        is_ordered and bool(is_sure) and all(sight.is_clear for sight in sights),
    )
