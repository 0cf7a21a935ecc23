# SPDX-License-Identifier: Apache-2.0
"""Truths that need no drawing: any things in any order, doing anything."""

from __future__ import annotations

from hypothesis import strategies as st

from penguin_ros.simulation.motion_seen import SEEN
from penguin_ros.simulation.scene import COLOURS, MAX_THINGS, SHAPES
from penguin_ros.simulation.truth import Sight, Truth

NAMES = [(colour, shape) for colour in COLOURS for shape in SHAPES]


def truth_with(*things: tuple[str, str, str], is_clear: bool = True) -> Truth:
    """Returns a truth of (colour, shape, motion) from left to right, with those that are gone
    last.
    """
    ordered = sorted(things, key=lambda thing: thing[2] == 'gone')
    sights = tuple(
        Sight(index, colour, shape, motion, -0.4 + 0.2 * index, motion != 'gone', is_clear)
        for index, (colour, shape, motion) in enumerate(ordered)
    )
    return Truth(0.0, 3.5, sights, is_clear)


def truths(most: int = MAX_THINGS) -> st.SearchStrategy[Truth]:
    """Up to `most` things, none of them twice."""
    things = st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(SEEN)),
        max_size=most,
        unique_by=lambda thing: thing[0],
    )
    return things.map(lambda found: truth_with(*((*name, motion) for name, motion in found)))
