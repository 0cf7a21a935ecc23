# SPDX-License-Identifier: Apache-2.0
"""What a thing does in the image between two times, by geometry alone.

Shifts are in image widths, growth is the logarithm of the ratio of the depths. Between the
thresholds a motion is not clear: random scenes avoid that, and nothing unclear is asked. Whether a
thing is hidden is not considered here.
"""

from __future__ import annotations

import math

from penguin_ros.simulation.scene import Scene, Thing
from penguin_ros.simulation.view import spot

CLEAR_SHIFT, CLEAR_GROWTH = 0.14, 0.30
STILL_BELOW, MOVES_ABOVE = 0.45, 0.7  # of what is clear; the boundary lies in the middle
CIRCLE_FROM_RAD = math.radians(240)
CIRCLE_CLEAR_RAD = (math.radians(270), math.radians(540))
REST_SHARE = 0.25  # of the interval, before which a motion must have ended to be seen as stopped

SEEN = ('still', 'left', 'right', 'toward', 'away', 'circle', 'stopped', 'appeared', 'gone')
"""The motions that captions name. The last two follow from visibility, see truth.py."""


def motion_seen(scene: Scene, thing: Thing, start_s: float, end_s: float) -> tuple[str, bool]:
    """Returns (one of SEEN, whether it is clear) for a thing that is in the image all the time."""
    motion = thing.motion
    if motion.kind == 'circle':
        sweep = abs(motion.rate) * (end_s - start_s)
        if sweep >= CIRCLE_FROM_RAD:
            return 'circle', CIRCLE_CLEAR_RAD[0] <= sweep <= CIRCLE_CLEAR_RAD[1]
    before, after = spot(scene, thing, start_s), spot(scene, thing, end_s)
    shift = (after.u - before.u) / CLEAR_SHIFT
    growth = math.log(before.depth / after.depth) / CLEAR_GROWTH
    seen, is_clear = _direction(shift, growth)
    if seen == 'still':
        return seen, is_clear and motion.kind != 'circle'
    moves_from, moves_until = max(start_s, motion.start_s), min(end_s, motion.stop_s)
    if motion.kind == 'circle' or moves_until <= moves_from:  # an arc, or the camera moved
        return seen, False
    rest = end_s - moves_until
    if rest >= REST_SHARE * (end_s - start_s):
        return 'stopped', is_clear and rest >= 1.3 * REST_SHARE * (end_s - start_s)
    return seen, is_clear and rest < 0.5 * REST_SHARE * (end_s - start_s)


def _direction(shift: float, growth: float) -> tuple[str, bool]:
    larger, smaller = max(abs(shift), abs(growth)), min(abs(shift), abs(growth))
    if larger < (STILL_BELOW + MOVES_ABOVE) / 2:
        return 'still', larger < STILL_BELOW
    is_clear = larger >= 1.0 and smaller <= 0.5 * larger
    if abs(shift) >= abs(growth):
        return ('right' if shift > 0 else 'left'), is_clear
    return ('toward' if growth > 0 else 'away'), is_clear
