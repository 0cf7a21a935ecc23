# SPDX-License-Identifier: Apache-2.0
"""What is drawn agrees with the geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import (
    COLOURS,
    SHAPES,
    Background,
    Camera,
    Floor,
    Light,
    Motion,
    Scene,
    Thing,
)
from penguin_ros.simulation.view import spot
from penguin_ros.simulation.world import World

BALL = Thing('ball', 'red', 0.32, (2.5, 0.0))


def centre(mask: np.ndarray) -> tuple[float, float]:
    """Returns (column, row) in pixels."""
    rows, columns = np.nonzero(mask)
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def test_a_seed_is_drawn_the_same_again_whatever_was_drawn_before(world: World) -> None:
    scene = random_scene(7, 3)
    world.load(scene)
    first, segments = world.render(1.0), world.segment(1.0)
    world.load(random_scene(8, 3))
    other = world.render(1.0)
    world.load(random_scene(7, 3))
    assert first.shape == (112, 168, 3) and first.dtype == np.uint8
    assert (
        (world.render(1.0) == first).all()
        and (world.segment(1.0) == segments).all()
        and (other != first).any()
    )


def test_two_worlds_of_different_size_can_be_open_at_once(world: World) -> None:
    world.load(Scene(0, (BALL,)))
    before = world.render(0.0)
    with World(84, 56) as small:
        small.load(Scene(0, (BALL,)))
        assert small.render(0.0).shape == (56, 84, 3)
        assert np.mean(small.segment(0.0) == 0) == pytest.approx(
            np.mean(world.segment(0.0) == 0), rel=0.1
        )
        assert (world.render(0.0) == before).all()


@pytest.mark.parametrize('place', [(2.0, 0.0), (2.5, 0.7), (3.6, -1.0)])
@pytest.mark.parametrize(
    'camera', [Camera(), Camera(1.1, 0.4, 1.0, speed=0.05, sway=0.1)], ids=['still', 'moving']
)
def test_a_thing_is_drawn_where_the_geometry_says(
    world: World, camera: Camera, place: tuple[float, float]
) -> None:
    scene = Scene(0, (replace(BALL, place=place),), camera)
    world.load(scene)
    expected, mask = spot(scene, scene.things[0], 1.0), world.segment(1.0) == 0
    rows = np.nonzero(mask.any(axis=1))[0]
    assert centre(mask)[0] == pytest.approx((expected.u + 0.5) * 168, abs=2.0)
    assert mask.any(axis=0).sum() == pytest.approx(2 * expected.half_width * 168, abs=3.0)
    assert (
        rows[0] >= (expected.top + 0.5) * 112 - 3 and rows[-1] <= (expected.bottom + 0.5) * 112 + 3
    )


@pytest.mark.parametrize(
    ('velocity', 'column', 'grows'),
    [((0.0, 0.4), -1, 0), ((0.0, -0.4), 1, 0), ((-0.4, 0.0), 0, 1), ((0.4, 0.0), 0, -1)],
)
def test_what_moves_left_in_the_world_moves_left_in_the_picture(
    world: World, velocity: tuple[float, float], column: int, grows: int
) -> None:
    world.load(Scene(0, (replace(BALL, motion=Motion('left', velocity)),)))
    before, after = world.segment(0.0) == 0, world.segment(2.0) == 0
    assert np.sign(round((centre(after)[0] - centre(before)[0]) / 10)) == column
    if grows:
        assert np.sign(after.sum() - before.sum()) == grows


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('colour', COLOURS)
def test_pixels_of_a_thing_have_its_colour(world: World, shape: str, colour: str) -> None:
    world.load(
        Scene(
            0,
            (replace(BALL, shape=shape, colour=colour),),
            light=Light(sun=(0.5, 0.5, 0.5), ambient=(0.4, 0.4, 0.4)),
        )
    )
    found = world.render(0.0)[world.segment(0.0) == 0].mean(axis=0) / 255
    nearest = min(
        COLOURS, key=lambda name: float(np.linalg.norm(found - 0.8 * np.array(COLOURS[name])))
    )
    assert nearest == colour


def test_a_cone_is_narrow_above_and_a_cylinder_is_not(world: World) -> None:
    widths = {}
    for shape in SHAPES:
        world.load(Scene(0, (replace(BALL, shape=shape),)))
        rows = (world.segment(0.0) == 0).sum(axis=1)
        rows = rows[rows > 0]
        widths[shape] = rows[len(rows) // 6] / rows[len(rows) * 4 // 6]
    assert widths['cone'] < 0.45 < 0.6 < widths['ball'] < 0.95 < widths['cylinder']
    assert widths['box'] > 0.9


def test_the_nearer_thing_hides_the_farther_one(world: World) -> None:
    near, far = (
        replace(BALL, place=(1.9, 0.0)),
        replace(BALL, place=(3.0, 0.1), colour='blue', size=0.2),
    )
    world.load(Scene(0, (far, near), Camera(height=0.4, pitch=0.05)))
    assert (world.segment(0.0) == 1).sum() > 500 and (world.segment(0.0) == 0).sum() < 30


def test_nothing_is_left_of_the_scene_before(world: World) -> None:
    world.load(Scene(0, (BALL, replace(BALL, colour='blue', place=(2.5, 1.0)))))
    world.load(Scene(1, ()))
    assert (world.segment(0.0) == -1).all()
    red, green, blue = world.render(0.0).astype(int).transpose(2, 0, 1)
    assert not ((red > green + 60) & (red > blue + 60)).any()


def test_the_surroundings_are_those_of_the_scene(world: World) -> None:
    grey = Floor('plain', (0.5, 0.5, 0.5))
    plain = Scene(0, (), floor=grey, light=Light(ambient=(0.4, 0.4, 0.4)))
    for changed, rows in (
        (replace(plain, floor=replace(grey, colour=(0.2, 0.6, 0.2))), slice(80, 112)),
        (replace(plain, background=Background(horizon=(0.9, 0.2, 0.2))), slice(0, 12)),
        (
            replace(plain, background=Background(wall_distance=4.0, wall=(0.1, 0.1, 0.6))),
            slice(5, 25),
        ),
        (replace(plain, light=Light(sun=(0.1, 0.1, 0.1))), slice(80, 112)),
        (replace(plain, floor=Floor('checker', (0.5, 0.5, 0.5), (0.1, 0.1, 0.1))), slice(50, 112)),
    ):
        world.load(plain)
        before = world.render(0.0).astype(int)
        world.load(changed)
        assert np.abs(world.render(0.0).astype(int) - before)[rows].mean() > 8


def test_noise_has_the_scene_s_strength_and_touches_no_segment(world: World) -> None:
    quiet = Scene(5, (BALL,))
    world.load(quiet)
    clean, segments = world.render(0.0).astype(float), world.segment(0.0)
    world.load(replace(quiet, noise=6.0))
    noisy = world.render(0.0)
    assert float((noisy - clean)[60:].std()) == pytest.approx(6.0, rel=0.15)
    assert (
        (world.segment(0.0) == segments).all()
        and (world.render(0.0) == noisy).all()
        and (world.render(0.5) != noisy).any()
    )
