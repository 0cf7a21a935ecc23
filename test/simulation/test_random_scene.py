# SPDX-License-Identifier: Apache-2.0
"""Scenes by seed: the same for the same seed, and clear to see."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from penguin_ros.simulation.motion_seen import motion_seen
from penguin_ros.simulation.random_scene import LEVELS, random_scene
from penguin_ros.simulation.scene import MOTIONS, SHAPES, SIZES
from penguin_ros.simulation.view import spot

SECONDS = 3.5
SEEN_AS = {'static': 'still', 'stop': 'stopped'}


@pytest.mark.parametrize('level', [1, 2, 3])
def test_a_seed_gives_the_same_scene_again_and_another_seed_another(level: int) -> None:
    assert [random_scene(seed, level) for seed in range(20)] == [
        random_scene(seed, level) for seed in range(20)
    ]
    assert len({repr(random_scene(seed, level)) for seed in range(50)}) == 50


def test_levels_hold_what_they_promise() -> None:
    kinds = {
        level: {
            thing.motion.kind for seed in range(150) for thing in random_scene(seed, level).things
        }
        for level in LEVELS
    }
    assert kinds[1] == {'static'}
    assert kinds[2] == set(MOTIONS) - {'appear', 'leave'}
    assert kinds[3] == kinds[4] == set(MOTIONS)
    counts = {
        level: {len(random_scene(seed, level).things) for seed in range(150)} for level in LEVELS
    }
    assert counts == {1: {1, 2, 3}, 2: {1, 2, 3}, 3: {1, 2, 3, 4}, 4: {2, 3, 4}}
    assert {random_scene(seed, 2).camera.speed for seed in range(30)} == {0.0}
    assert 5 < sum(random_scene(seed, 3).camera.speed > 0 for seed in range(30)) < 25


def test_all_shapes_and_numbers_are_about_as_frequent() -> None:
    scenes = [random_scene(seed, 3) for seed in range(400)]
    things = [thing for scene in scenes for thing in scene.things]
    shares = [sum(thing.shape == shape for thing in things) / len(things) for shape in SHAPES]
    assert all(0.2 < share < 0.3 for share in shares)
    assert all(
        60 < sum(len(scene.things) == count for scene in scenes) < 140 for count in range(1, 5)
    )


def test_in_a_scene_no_colour_and_shape_occurs_twice_and_every_size_can_be_drawn() -> None:
    for seed in range(200):
        things = random_scene(seed, 3).things
        assert len({(thing.colour, thing.shape) for thing in things}) == len(things)
        assert all(thing.size in SIZES for thing in things)


@pytest.mark.parametrize('seconds', [1.5, 3.5, 8.0])
def test_every_motion_is_clear_when_all_of_it_is_watched(seconds: float) -> None:
    for seed in range(120):
        scene = random_scene(seed, 3, seconds)
        for thing in scene.things:
            kind = thing.motion.kind
            if kind not in ('appear', 'leave'):
                assert motion_seen(scene, thing, 0.0, seconds) == (SEEN_AS.get(kind, kind), True), (
                    seed,
                    thing,
                )


def test_whoever_appears_or_leaves_is_in_the_picture_at_one_end_of_the_time_only() -> None:
    found = 0
    for seed in range(120):
        scene = random_scene(seed, 3, SECONDS)
        for thing in scene.things:
            first, last = spot(scene, thing, 0.0), spot(scene, thing, SECONDS)
            if thing.motion.kind in ('appear', 'leave'):
                found += 1
                outside, inside = (first, last) if thing.motion.kind == 'appear' else (last, first)
                assert outside.is_outside and inside.is_inside
            else:
                assert first.is_inside and last.is_inside
    assert found > 20


def test_nothing_runs_into_anything_and_the_order_at_the_end_is_no_matter_of_opinion() -> None:
    for seed in range(120):
        scene = random_scene(seed, 3, SECONDS)
        for one, two in combinations(scene.things, 2):
            times = [step * SECONDS / 7 for step in range(8)]
            distances = [
                math.dist(one.position(time)[:2], two.position(time)[:2]) for time in times
            ]
            assert min(distances) > one.size + two.size
            assert abs(spot(scene, one, SECONDS).u - spot(scene, two, SECONDS).u) >= 0.09


def test_without_time_nothing_moves() -> None:
    for seed in range(30):
        scene = random_scene(seed, 3, 0.0)
        assert {thing.motion.kind for thing in scene.things} == {
            'static'
        } and scene.camera.speed == scene.camera.sway == 0.0
