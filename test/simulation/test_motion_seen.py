# SPDX-License-Identifier: Apache-2.0
"""What motion in the world looks like."""

from __future__ import annotations

import math

import pytest

from penguin_ros.simulation.motion_seen import motion_seen
from penguin_ros.simulation.scene import Camera, Motion, Scene, Thing

LEFT_M_S = (0.0, 0.3)  # y points left
CAMERA = Camera()


def seen(
    motion: Motion, start_s: float = 0.0, end_s: float = 4.0, camera: Camera = CAMERA
) -> tuple[str, bool]:
    thing = Thing('box', 'red', 0.3, (2.8, 0.0), motion=motion)
    return motion_seen(Scene(0, (thing,), camera), thing, start_s, end_s)


@pytest.mark.parametrize(
    ('velocity', 'expected'),
    [
        ((0.0, 0.3), 'left'),
        ((0.0, -0.3), 'right'),
        ((-0.3, 0.0), 'toward'),
        ((0.4, 0.0), 'away'),
        ((0.0, 0.0), 'still'),
    ],
)
def test_directions_in_the_world_are_directions_in_the_picture(
    velocity: tuple[float, float], expected: str
) -> None:
    assert seen(Motion('any', velocity, 0.0, 4.0)) == (expected, True)


def test_a_circle_is_one_when_most_of_it_is_watched() -> None:
    motion = Motion('circle', radius=0.45, rate=2 * math.pi / 4.0)
    assert seen(motion) == ('circle', True)
    assert seen(motion, 0.0, 0.1) == ('still', False)  # an arc so short that nobody could tell


def test_a_thing_that_rests_at_the_end_has_stopped_and_one_that_stopped_before_stands_still() -> (
    None
):
    motion = Motion('stop', LEFT_M_S, 0.0, 2.0)
    assert seen(motion) == ('stopped', True)
    assert seen(motion, 0.0, 2.0) == ('left', True)
    assert seen(motion, 2.0, 4.0) == ('still', True)


def test_what_is_between_still_and_moving_is_not_clear() -> None:
    clear = [
        seen(Motion('left', (0.0, speed), 0.0, 4.0))[1] for speed in (0.0, 0.03, 0.08, 0.2, 0.4)
    ]
    assert clear == [True, True, False, True, True]


def test_aslant_is_not_clear() -> None:
    assert not seen(Motion('left', (-0.25, 0.2), 0.0, 4.0))[1]


def test_a_camera_that_moves_a_little_makes_nothing_move() -> None:
    assert seen(Motion(), camera=Camera(speed=0.03, sway=0.03)) == ('still', True)
    assert seen(Motion('left', LEFT_M_S, 0.0, 4.0), camera=Camera(speed=0.03, sway=0.03)) == (
        'left',
        True,
    )
