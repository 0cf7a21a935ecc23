# SPDX-License-Identifier: Apache-2.0
"""Worlds for Gazebo: the SDF says what the scene says, SDFormat's parser accepts it, and the demo's
file is up to date.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from gazebo_demo_world import PERIOD_S, demo_scene, demo_world
from gazebo_sdf import INFO_TOPIC, SdfOptions, UnsuitableScene, cone_obj, name_of, world_sdf

from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import COLOURS, Camera, Scene

ROOT = Path(__file__).resolve().parents[2]
PARSERS = (['gz', 'sdf', '-k'], ['ign', 'sdf', '-k'])


def scenes() -> Iterator[Scene]:
    """Scenes of all kinds whose camera stands still."""
    for seed in range(1000):
        scene = random_scene(seed, 3, 3.0)
        yield replace(scene, camera=replace(scene.camera, speed=0.0, sway=0.0))


def world_of(scene: Scene, options: SdfOptions) -> Element:
    world = ElementTree.fromstring(world_sdf(scene, options)).find('world')
    assert world is not None
    return world


def numbers(element: Element, path: str) -> list[float]:
    return [float(word) for word in (element.findtext(path) or '').split()]


@pytest.mark.parametrize('is_classic', [True, False], ids=['classic', 'sim'])
def test_every_thing_is_there_with_its_size_colour_and_place(is_classic: bool) -> None:
    for scene in islice(scenes(), 40):
        world = world_of(scene, SdfOptions(is_classic=is_classic))
        found = {
            element.get('name'): element for element in world if element.tag in ('model', 'actor')
        }
        assert len(found) == len(scene.things) + 2 + 3 * (scene.background.wall_distance > 0)
        for thing in scene.things:
            element = found[name_of(thing)]
            assert (element.tag == 'actor') == (thing.motion.kind != 'static')
            if element.tag == 'actor' and not is_classic:
                assert element.find('pose') is None, 'Gazebo Sim adds the waypoints to it'
            else:
                assert numbers(element, 'pose') == pytest.approx(
                    [*thing.position(0.0), 0, 0, thing.yaw], abs=1e-3
                )
            visual = element.find('link/visual')
            assert visual is not None
            assert numbers(visual, 'material/diffuse') == pytest.approx([*COLOURS[thing.colour], 1])
            radius, height = thing.size, 2 * thing.half_height
            sizes = {
                'box': ('box/size', [2 * radius, 2 * radius, height]),
                'ball': ('sphere/radius', [radius]),
                'cylinder': ('cylinder/length', [height]),
                'cone': ('mesh/scale', [radius, radius, height / 2]),
            }
            path, expected = sizes[thing.shape]
            assert numbers(visual, f'geometry/{path}') == pytest.approx(expected)


def test_actors_follow_the_scenes_paths_from_the_delay_on() -> None:
    kinds = set()
    for scene in islice(scenes(), 120):
        world = world_of(scene, SdfOptions(is_classic=True, delay_s=1.5, seconds=3.0))
        for thing in scene.things:
            actor = world.find(f"actor[@name='{name_of(thing)}']")
            if actor is None:
                continue
            kinds.add(thing.motion.kind)
            assert (
                actor.findtext('script/delay_start') == '1.5'
                and actor.findtext('script/loop') == 'false'
            )
            waypoints = actor.findall('script/trajectory/waypoint')
            assert (
                float(waypoints[0].findtext('time') or '') == 0
                and float(waypoints[-1].findtext('time') or '') == 3
            )
            for waypoint in waypoints:
                time = float(waypoint.findtext('time') or '')
                assert numbers(waypoint, 'pose')[:3] == pytest.approx(
                    thing.position(time), abs=1e-3
                )
    assert kinds == {'left', 'right', 'toward', 'away', 'circle', 'stop', 'appear', 'leave'}


def test_the_camera_sees_what_the_scenes_camera_sees() -> None:
    scene = next(scenes())
    sensor = world_of(scene, SdfOptions(width=300, height=200)).find(
        "model[@name='camera']/link/sensor"
    )
    assert sensor is not None
    fov_x = numbers(sensor, 'camera/horizontal_fov')[0]
    assert math.tan(fov_x / 2) == pytest.approx(1.5 * math.tan(scene.camera.fov_y / 2), rel=1e-3)
    pose = numbers(world_of(scene, SdfOptions()), "model[@name='camera']/pose")
    assert pose == pytest.approx([0, 0, scene.camera.height, 0, scene.camera.pitch, 0], abs=1e-3)


def test_a_camera_that_moves_is_refused() -> None:
    with pytest.raises(UnsuitableScene, match='moves'):
        world_sdf(Scene(7, (), Camera(speed=0.1)), SdfOptions())


def test_gazebo_sim_has_what_draws_pictures_and_classic_knows_nothing_of_it() -> None:
    scene = next(scenes())
    sim, classic = world_of(scene, SdfOptions()), world_of(scene, SdfOptions(is_classic=True))
    plugin = sim.find("plugin[@filename='gz-sim-sensors-system']")
    assert plugin is not None and plugin.findtext('render_engine') == 'ogre2'
    assert plugin.get('name') == 'gz::sim::systems::Sensors'
    assert classic.find('plugin') is None and classic.find('.//gz_frame_id') is None
    topic = '/' + (sim.findtext("model[@name='camera']/link/sensor/topic") or '')
    assert INFO_TOPIC == topic.rpartition('/')[0] + '/camera_info', 'as gz-sensors derives it'


def test_the_cone_is_closed_and_its_faces_look_outwards() -> None:
    lines = [line.split() for line in cone_obj().splitlines()]
    vertices = np.array([[float(word) for word in line[1:]] for line in lines if line[0] == 'v'])
    normals = np.array([[float(word) for word in line[1:]] for line in lines if line[0] == 'vn'])
    faces = [
        [tuple(int(part) for part in corner.split('//')) for corner in line[1:]]
        for line in lines
        if line[0] == 'f'
    ]
    assert vertices.min() == -1 and vertices.max() == 1
    edges = [(face[corner][0], face[(corner + 1) % 3][0]) for face in faces for corner in range(3)]
    assert len(edges) == len(set(edges)) and {(second, first) for first, second in edges} == set(
        edges
    )
    for face in faces:
        first, second, third = (vertices[vertex - 1] for vertex, _ in face)
        across = np.cross(second - first, third - first)
        assert np.dot(across / np.linalg.norm(across), normals[face[0][1] - 1]) == pytest.approx(
            1, abs=1e-3
        )
        assert np.dot(across, first + second + third) > 0


def test_the_demo_is_the_file_that_is_there() -> None:
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    try:
        from make_gazebo_world import files
    finally:
        sys.path.remove(str(ROOT / 'tools'))
    for name, text in files().items():
        assert (ROOT / 'worlds' / name).read_text(encoding='utf-8') == text, (
            'python tools/make_gazebo_world.py'
        )


def test_what_moves_in_the_demo_comes_back_to_its_beginning() -> None:
    world = ElementTree.fromstring(demo_world())
    actors = world.findall('.//actor')
    assert len(actors) == 2
    for actor in actors:
        poses = [
            numbers(waypoint, 'pose') for waypoint in actor.findall('script/trajectory/waypoint')
        ]
        assert actor.findtext('script/loop') == 'true' and poses[0] == pytest.approx(
            poses[-1], abs=1e-3
        )


@pytest.mark.parametrize('start_s', [0.0, 0.4 * PERIOD_S, 0.9 * PERIOD_S, 100.0])
def test_the_demos_truth_is_clear_and_the_same_at_any_time(start_s: float) -> None:
    pytest.importorskip('mujoco')
    from penguin_ros.simulation.language import facts
    from penguin_ros.simulation.truth import truth
    from penguin_ros.simulation.world import World

    with World() as world:
        seen = truth(demo_scene(), world, start_s, start_s + 3.0)
    assert seen.is_clear
    assert facts(seen).things == {
        ('red', 'ball', 'circle'),
        ('cyan', 'cylinder', 'circle'),
        ('blue', 'box', 'still'),
        ('yellow', 'cone', 'still'),
    }
    assert facts(seen).order == (
        ('red', 'ball'),
        ('blue', 'box'),
        ('cyan', 'cylinder'),
        ('yellow', 'cone'),
    )


def parser() -> list[str]:
    """The command of an installed SDFormat that checks a file."""
    for command in PARSERS:
        if (
            shutil.which(command[0])
            and subprocess.run([*command[:2], '--help'], capture_output=True).returncode == 0
        ):
            return command
    pytest.skip(
        'no parser of SDFormat here (Debian 12: apt-get install libsdformat-dev ignition-tools)'
    )


@pytest.fixture(scope='module')
def check_command() -> list[str]:
    return parser()


def check(command: list[str], path: Path) -> None:
    """Asserts that the parser finds no error and warns of nothing in the file."""
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60)
    told = done.stdout + done.stderr
    assert done.returncode == 0 and 'Valid' in told, told
    assert 'Error' not in told and 'Warning' not in told, told


def test_the_parser_of_sdformat_accepts_the_demo(check_command: list[str]) -> None:
    check(check_command, ROOT / 'worlds' / 'penguin_demo.sdf')


def test_the_parser_sees_what_is_wrong(check_command: list[str], tmp_path: Path) -> None:
    path = tmp_path / 'broken.sdf'
    path.write_text(demo_world().replace('<radius>0.26</radius>', '<radius>many</radius>'))
    with pytest.raises(AssertionError):
        check(check_command, path)


@pytest.mark.parametrize('is_classic', [True, False], ids=['classic', 'sim'])
def test_the_parser_of_sdformat_accepts_random_worlds(
    is_classic: bool, check_command: list[str], tmp_path: Path
) -> None:
    (tmp_path / 'cone.obj').write_text(cone_obj())
    for number, scene in enumerate(islice(scenes(), 5)):
        path = tmp_path / f'{number}.sdf'
        path.write_text(
            world_sdf(
                scene,
                SdfOptions(
                    is_classic=is_classic,
                    mesh_folder=tmp_path.as_uri(),
                    loops=True,
                    has_shadows=True,
                ),
            )
        )
        check(check_command, path)
