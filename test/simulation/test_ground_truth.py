# SPDX-License-Identifier: Apache-2.0
"""The ground truth of a showing is that of the simulation, for the whole of it and for every part,
and survives JSON.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from penguin_ros.errors import PenguinError
from penguin_ros.ros.sim_camera.scenes import SceneChoice, Showing, ground_truth, image_times_s
from penguin_ros.simulation.ground_truth import from_json, to_json
from penguin_ros.simulation.language import facts, parse_caption
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scoring import score_caption
from penguin_ros.simulation.truth import truth
from penguin_ros.simulation.world import World

# MuJoCo is imported by World alone, which first says how it shall draw.
pytestmark = pytest.mark.skipif(importlib.util.find_spec('mujoco') is None, reason='no MuJoCo here')

SECOND = 10**9


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.mark.parametrize('seed', range(4))
def test_it_survives_json_with_everything_in_it(world: World, seed: int) -> None:
    told = ground_truth(world, random_scene(seed), Showing(seed, 2, 40 * SECOND, 3.5, 7))
    assert from_json(to_json(told)) == told
    assert '\n' not in to_json(told)


@pytest.mark.parametrize('seed', range(6))
def test_caption_facts_and_events_are_those_of_the_scene(world: World, seed: int) -> None:
    scene = random_scene(seed)
    told, seen = (
        ground_truth(world, scene, Showing(0, 0, 40 * SECOND, 3.5, 0)),
        truth(scene, world, 0.0, 3.5),
    )
    assert parse_caption(told.caption) == facts(seen) and told.is_clear == seen.is_clear
    assert f'count: {seen.count}' in told.facts
    assert {(event.colour, event.shape) for event in told.events} == {
        sight.name for sight in seen.changed
    }
    assert all(
        told.start_ns <= event.start_ns < event.end_ns <= told.end_ns for event in told.events
    )


def test_a_part_has_a_truth_of_its_own(world: World) -> None:
    """Whoever leaves is there in the beginning and gone at the end."""
    scene = next(
        scene
        for scene in map(random_scene, range(200))
        if sorted(thing.motion.kind for thing in scene.things) == ['leave', 'static']
    )
    told = ground_truth(world, scene, Showing(0, 0, 40 * SECOND, 3.5, 0))
    whole, part = (
        told.truth_between(world, told.start_ns, told.end_ns),
        told.truth_between(world, told.start_ns, told.start_ns),
    )
    assert score_caption(told.caption, whole).right == score_caption(told.caption, whole).wanted
    assert len(whole.gone) == 1 and not part.gone and part.count == 2
    assert told.holds(told.start_ns, told.end_ns) and not told.holds(told.start_ns - 1, told.end_ns)


@pytest.mark.parametrize(
    'text', ['', 'null', '{}', '{"number": 1}', '{"scene": {"seed": 1, "things": 3}}']
)
def test_other_texts_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(PenguinError):
        from_json(text)


def test_random_scenes_follow_their_seed_and_end_after_their_number() -> None:
    scenes = list(SceneChoice(seed=5, level=2, count=3).scenes())
    assert scenes == [random_scene(seed, 2) for seed in (5, 6, 7)]


def test_pictures_reach_from_the_beginning_to_the_last_moment() -> None:
    times = image_times_s(random_scene(1, seconds=3.5), 10.0)
    assert (len(times), times[0], times[-1]) == (36, 0.0, 3.5)
    assert image_times_s(random_scene(1, seconds=1.0), 3.0)[-1] == pytest.approx(1.0)
