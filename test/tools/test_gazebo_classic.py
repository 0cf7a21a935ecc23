# SPDX-License-Identifier: Apache-2.0
"""What a real Gazebo Classic draws and reports is the scene, where scripts/gazebo_test has set one
up; nothing of it stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('mujoco')

from gazebo_messages import NANOSECONDS, Picture
from gazebo_run import RATE_HZ, TOLERANCE_M, GazeboRun
from gazebo_server import GazeboEnded
from gazebo_worlds import LEAD_S, SECONDS, moving_scenes

from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.simulation.scene import COLOURS
from penguin_ros.simulation.world import World

TREE = Path(os.environ.get('PENGUIN_GAZEBO', '/var/cache/penguin_ros/gazebo')) / 'tree'
NUMBER = 900  # of the folder in the tree, others than those of a run of scripts/gazebo_test

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not (TREE / '.complete').is_file(),
        reason=f'no Gazebo in {TREE}, or not root; scripts/gazebo_test',
    ),
]


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with World(336, 224) as world:
        yield world


@pytest.fixture(scope='module')
def played(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GazeboRun, list[Picture]]:
    """A scene with moving things, played to its end; the server is gone."""
    scene = next(islice(moving_scenes(world, 3), 4, None))
    run = GazeboRun(TREE, scene, NUMBER, tmp_path_factory.mktemp('gazebo'))
    try:
        return run, list(run.pictures())
    finally:
        run.close()


def test_pictures_come_at_the_cameras_rate_with_stamps_of_simulated_time(
    played: tuple[GazeboRun, list[Picture]],
) -> None:
    stamps = [picture.stamp_ns for picture in played[1]]
    assert stamps == sorted(set(stamps)) and stamps[0] < LEAD_S * NANOSECONDS
    assert max(np.diff(stamps)) <= 1.5 * NANOSECONDS / RATE_HZ
    assert stamps[-1] > (LEAD_S + SECONDS - 2 / RATE_HZ) * NANOSECONDS


def test_everything_is_where_the_scene_has_it_by_gazebos_own_poses(
    played: tuple[GazeboRun, list[Picture]],
) -> None:
    assert played[0].largest_error_m() <= TOLERANCE_M
    assert len(played[0].poses) > 20, 'they were told all along the way'


def test_what_moves_is_seen_where_mujoco_draws_it(
    played: tuple[GazeboRun, list[Picture]], world: World
) -> None:
    """Every pixel well inside a thing has the thing's hue in Gazebo's image."""
    run, pictures = played
    world.load(run.scene)
    for picture in pictures:
        seconds = picture.stamp_ns / NANOSECONDS - LEAD_S
        if seconds < 0:
            continue
        segments = world.segment(seconds)
        for index, thing in enumerate(run.scene.things):
            inside = _shrunk(segments == index, 5)
            if inside.sum() < 30:
                continue
            seen = np.median(picture.image[inside].astype(float), axis=0)
            names = list(COLOURS)
            signature_similarity = [
                _signature_similarity(seen, np.asarray(COLOURS[name])) for name in names
            ]
            assert names[int(np.argmax(signature_similarity))] == thing.colour, (
                seen,
                thing,
                seconds,
            )


def test_a_server_that_ended_is_an_error_with_its_last_words(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gazebo_run

    monkeypatch.setattr(gazebo_run, 'SILENCE_S', 3.0)
    run = GazeboRun(tmp_path / 'nowhere', next(moving_scenes(world, 2)), NUMBER + 1, tmp_path)
    try:
        with pytest.raises(GazeboEnded, match='nowhere'):
            next(run.pictures())
    finally:
        run.close()


def test_nothing_that_was_started_is_left(played: tuple[GazeboRun, list[Picture]]) -> None:
    folder = f'/srv/penguin_worlds/{NUMBER}/'
    left = [
        path.parent.name for path in Path('/proc').glob('[0-9]*/cmdline') if folder in _text(path)
    ]
    assert left == []
    assert str(TREE) not in Path('/proc/mounts').read_text()


def test_scenes_are_held_out_and_chosen_by_their_seeds_alone(world: World) -> None:
    scenes = list(islice(moving_scenes(world, 2), 5))
    assert all(scene.seed in HELD_OUT for scene in scenes)
    assert [scene.seed for scene in scenes] == sorted(scene.seed for scene in scenes)
    assert all(any(thing.motion.kind != 'static' for thing in scene.things) for scene in scenes)


def _signature_similarity(seen: Any, colour: Any) -> float:
    """Of directions in colour space, and for the greys of brightness."""
    first, second = seen / max(1.0, np.linalg.norm(seen)), colour / np.linalg.norm(colour)
    return float(first @ second - 0.3 * abs(seen.max() / 255 - colour.max()))


def _shrunk(mask: Any, pixels: int) -> Any:
    for _ in range(pixels):
        inner = mask.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            inner &= np.roll(mask, step, axis)
        mask = inner
    return mask


def _text(path: Path) -> str:
    try:
        return path.read_bytes().replace(b'\0', b' ').decode(errors='replace')
    except OSError:  # it has just ended
        return ''
