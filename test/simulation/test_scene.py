# SPDX-License-Identifier: Apache-2.0
"""Where things and the camera are at a time."""

from __future__ import annotations

import colorsys
import math
from itertools import combinations

import pytest

from penguin_ros.simulation.scene import COLOURS, Camera, Motion, Thing


def test_a_thing_moves_from_the_beginning_of_its_motion_to_its_end_and_no_further() -> None:
    thing = Thing('box', 'red', 0.3, (2.0, 0.0), motion=Motion('left', (0.0, 0.5), 1.0, 3.0))
    assert [thing.position(seconds)[1] for seconds in (0.0, 1.0, 2.0, 3.0, 9.0)] == [
        0.0,
        0.0,
        0.5,
        1.0,
        1.0,
    ]
    assert {thing.position(seconds)[0] for seconds in (0.0, 2.0, 9.0)} == {2.0}


def test_a_thing_in_a_circle_keeps_its_distance_and_comes_round() -> None:
    thing = Thing(
        'ball', 'blue', 0.3, (2.0, 1.0), motion=Motion('circle', radius=0.4, rate=2 * math.pi / 4.0)
    )
    places = [thing.position(seconds)[:2] for seconds in (0.0, 1.0, 2.7, 4.0)]
    assert [math.dist(place, (2.0, 1.0)) for place in places] == pytest.approx([0.4] * 4)
    assert places[0] == pytest.approx(places[3]) and math.dist(places[0], places[1]) > 0.4


@pytest.mark.parametrize('shape', ['box', 'ball', 'cylinder', 'cone'])
def test_every_shape_stands_on_the_floor(shape: str) -> None:
    thing = Thing(shape, 'red', 0.3, (2.0, 0.0))
    assert thing.position(0.0)[2] == thing.half_height > 0


def test_the_camera_drives_forward_and_sways() -> None:
    camera = Camera(speed=0.1, sway=0.05, sway_hz=0.25)
    place, yaw = camera.pose(1.0)
    assert place == (0.1, 0.0, camera.height) and yaw == pytest.approx(0.05)
    assert Camera().pose(7.0) == ((0.0, 0.0, 0.8), 0.0)


def test_coloured_things_differ_in_hue_and_the_others_have_none() -> None:
    hsv = {name: colorsys.rgb_to_hsv(*rgb) for name, rgb in COLOURS.items()}
    hues = {name: hue * 360 for name, (hue, saturation, _) in hsv.items() if saturation > 0.3}
    gaps = [
        min(abs(one - two), 360 - abs(one - two)) for one, two in combinations(hues.values(), 2)
    ]
    assert len(COLOURS) >= 8 and min(gaps) > 35
    grey = {
        name: round(value, 1) for name, (_, saturation, value) in hsv.items() if saturation <= 0.3
    }
    assert grey == {'white': 1.0, 'black': 0.1}
