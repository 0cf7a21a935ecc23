# SPDX-License-Identifier: Apache-2.0
"""What can truly be said about a scene."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Camera, Motion, Scene, Thing
from penguin_ros.simulation.truth import truth
from penguin_ros.simulation.world import World

RED = Thing('ball', 'red', 0.3, (2.5, 0.0))
BLUE = Thing('box', 'blue', 0.3, (2.5, 1.0))
GREEN = Thing('cone', 'green', 0.3, (3.0, -1.0))


def test_order_and_count_are_those_of_the_end(world: World) -> None:
    crossing = replace(RED, place=(2.0, -0.9), motion=Motion('left', (0.0, 0.6), 0.0, 3.0))
    scene = Scene(0, (crossing, replace(BLUE, place=(3.2, 0.0))))
    found = truth(scene, world, 0.0, 3.0)
    assert found.order == (('red', 'ball'), ('blue', 'box')) and found.count == 2 and found.is_clear
    assert [sight.motion for sight in found.sights] == ['left', 'still'] and [
        sight.index for sight in found.changed
    ] == [0]
    assert truth(scene, world, 0.0, 0.1).order == (('blue', 'box'), ('red', 'ball'))


def test_who_comes_appears_and_who_goes_is_gone(world: World) -> None:
    comes = replace(RED, place=(2.5, 2.6), motion=Motion('appear', (0.0, -0.8), 0.5, 2.5))
    goes = replace(GREEN, motion=Motion('leave', (0.0, -1.0), 0.5, 2.5))
    scene = Scene(0, (comes, BLUE, goes))
    found = truth(replace(scene, things=(comes, goes)), world, 0.0, 3.0)
    assert {sight.colour: sight.motion for sight in found.sights} == {
        'red': 'appeared',
        'green': 'gone',
    }
    assert [sight.colour for sight in found.present] == ['red'] and [
        sight.colour for sight in found.gone
    ] == ['green']
    before = truth(replace(scene, things=(comes, goes)), world, 0.0, 0.2)
    assert [(sight.colour, sight.motion) for sight in before.sights] == [('green', 'still')]
    after = truth(replace(scene, things=(comes, goes)), world, 2.6, 3.0)
    assert [(sight.colour, sight.motion) for sight in after.sights] == [('red', 'still')]


def test_what_is_hidden_all_the_time_is_not_seen(world: World) -> None:
    hidden = replace(BLUE, size=0.2, place=(3.2, 0.0))
    found = truth(
        Scene(0, (replace(RED, place=(1.8, 0.0), size=0.35), hidden), Camera(0.4, 0.05)),
        world,
        0.0,
        3.0,
    )
    assert found.order == (('red', 'ball'),)


def test_two_in_nearly_one_column_are_not_clear(world: World) -> None:
    assert not truth(
        Scene(
            0, (replace(RED, place=(1.9, 0.0)), replace(BLUE, place=(3.9, 0.05))), Camera(1.2, 0.4)
        ),
        world,
        0.0,
        0.0,
    ).is_clear
    assert truth(Scene(0, (RED, BLUE)), world, 0.0, 0.0).is_clear


def test_one_moment_shows_no_motion(world: World) -> None:
    moving = replace(RED, motion=Motion('left', (0.0, 0.5), 0.0, 3.0))
    assert [sight.motion for sight in truth(Scene(0, (moving,)), world, 1.0, 1.0).sights] == [
        'still'
    ]


@pytest.mark.parametrize('level', [1, 2, 3])
def test_random_scenes_are_seen_as_they_were_meant(world: World, level: int) -> None:
    seen_as = {'static': 'still', 'stop': 'stopped', 'appear': 'appeared', 'leave': 'gone'}
    for seed in range(40):
        scene = random_scene(seed, level)
        found = truth(scene, world, 0.0, scene.seconds, samples=3)
        meant = {
            (thing.colour, thing.shape, seen_as.get(thing.motion.kind, thing.motion.kind))
            for thing in scene.things
        }
        assert {(*sight.name, sight.motion) for sight in found.sights} == meant and found.is_clear
