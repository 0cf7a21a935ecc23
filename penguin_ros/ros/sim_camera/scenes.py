# SPDX-License-Identifier: Apache-2.0
"""Chooses the scenes that are shown, the times of their images, and what is true of each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.frame import NANOSECONDS
from penguin_ros.simulation.ground_truth import GroundTruth, events_of, fact_texts
from penguin_ros.simulation.language import caption
from penguin_ros.simulation.questions import questions
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.scene_file import read_scene
from penguin_ros.simulation.truth import truth
from penguin_ros.simulation.world import World


@dataclass(frozen=True)
class SceneChoice:
    """What is shown: the file `scene` again and again, or random scenes of a level from `seed` on.

    `count` is how many scenes are shown; 0 is without end. `seconds` is the length of random ones.
    """

    scene: str = ''
    seed: int = 1
    level: int = 3
    seconds: float = 3.5
    count: int = 0

    def scenes(self) -> Iterator[Scene]:
        """Yields one scene after the other; SceneError when the file holds none."""
        given = read_scene(Path(self.scene).expanduser()) if self.scene else None
        number = 0
        while not self.count or number < self.count:
            yield given or random_scene(self.seed + number, self.level, self.seconds)
            number += 1


def image_times_s(scene: Scene, hz: float) -> list[float]:
    """Returns the times of a scene's images from its beginning, all within its `seconds`."""
    return [tick / hz for tick in range(int(scene.seconds * hz + 1e-6) + 1)]


@dataclass(frozen=True)
class Showing:
    """One showing of a scene: its first image is stamped `start_ns`, its last one `last_s` later.

    The other fields are those of GroundTruth.
    """

    number: int
    epoch: int
    start_ns: int
    last_s: float
    skipped: int


def ground_truth(world: World, scene: Scene, showing: Showing) -> GroundTruth:
    """Returns what is true about a showing; the world is left with the scene loaded."""
    seen = truth(scene, world, 0.0, showing.last_s)
    source = random.Random(f'penguin questions {scene.seed} {showing.number}')
    return GroundTruth(
        showing.number,
        showing.epoch,
        showing.start_ns,
        showing.start_ns + round(showing.last_s * NANOSECONDS),
        scene,
        seen.is_clear,
        caption(seen),
        fact_texts(seen),
        events_of(seen, scene, showing.start_ns),
        tuple(questions(seen, source)),
        showing.skipped,
    )
