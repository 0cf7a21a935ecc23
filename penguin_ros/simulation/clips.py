# SPDX-License-Identifier: Apache-2.0
"""Clips of random scenes with everything that is true about them, by seed: a model learns from them
and is scored on them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.simulation.language import caption
from penguin_ros.simulation.questions import QuestionAnswer, questions
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.truth import Truth, truth_of
from penguin_ros.simulation.world import World

HELD_OUT = range(1_000_000_000, 1_000_100_000)
"""Seeds that nothing is ever trained on; scores and tests take theirs from here."""


@dataclass(frozen=True, eq=False)
class SimulatedClip:
    """A clip and its truth.

    `frames` are (N, H, W, 3) uint8 RGB, `segments` (N, H, W) int32 as World.segment returns them,
    `stamps` (N,) seconds from the scene's beginning; `truth` covers the first to the last stamp.
    """

    scene: Scene
    frames: NDArray[np.uint8]
    segments: NDArray[np.int32]
    stamps: NDArray[np.float64]
    truth: Truth
    caption: str
    questions: tuple[QuestionAnswer, ...]


def make_clip(
    world: World,
    seed: int,
    level: int = 3,
    frames: int = 8,
    fps: float = 2.0,
    max_questions: int = 12,
) -> SimulatedClip:
    """Returns the clip of a seed, which is always the same; in a clip of one frame nothing
    moves.
    """
    scene = random_scene(seed, level, (frames - 1) / fps)
    world.load(scene)
    stamps = np.arange(frames) / fps
    segments = np.stack([world.segment(float(stamp)) for stamp in stamps])
    seen = truth_of(scene, list(segments), 0.0, float(stamps[-1]))
    source = random.Random(f'penguin words {seed} {level}')
    images = np.stack([world.render(float(stamp)) for stamp in stamps])
    return SimulatedClip(
        scene,
        images,
        segments,
        stamps,
        seen,
        caption(seen, source),
        tuple(questions(seen, source, max_questions)),
    )
