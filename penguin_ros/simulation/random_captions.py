# SPDX-License-Identifier: Apache-2.0
"""Captions of scenes that nobody drew: things and motions at random, in the grammar and wordings of
the simulated world. For tests and measurements that need many.
"""

from __future__ import annotations

import random as random_module

from penguin_ros.simulation.language import caption
from penguin_ros.simulation.scene import COLOURS, SHAPES
from penguin_ros.simulation.truth import Sight, Truth
from penguin_ros.simulation.words import AFTER_NOUN

MAX_THINGS = 4
GONE_SHARE = 0.3

NAMES = [(colour, shape) for colour in COLOURS for shape in SHAPES]


def random_caption(random: random_module.Random) -> str:
    """Returns the caption of up to MAX_THINGS things; in some a further one has left."""
    count = random.randint(0, MAX_THINGS)
    names = random.sample(NAMES, count + 1)
    motions = random.choices(list(AFTER_NOUN), k=count)
    sights = [
        Sight(at, *name, motion, 0.0, True, True)
        for at, (name, motion) in enumerate(zip(names, motions, strict=False))
    ]
    if random.random() < GONE_SHARE:
        sights.append(Sight(count, *names[count], 'gone', 0.0, False, True))
    return caption(Truth(0.0, 1.0, tuple(sights), True), random)
