# SPDX-License-Identifier: Apache-2.0
"""Topics and frames have one name each, in the documentation, the code, the parameter files and the
bridge to Gazebo.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from penguin_ros.config import PenguinConfig, VisualConfig
from penguin_ros.settings import settings

pytest.importorskip('rclpy', reason='no ROS 2 here')

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs' / 'simulation.md').read_text(encoding='utf-8')
BRIDGE, WORLD = ROOT / 'config' / 'gazebo_bridge.yaml', ROOT / 'worlds' / 'penguin_demo.sdf'


def table() -> dict[str, tuple[str, str]]:
    """Returns the rows of docs/simulation.md about simulated cameras: what it is, its name and its
    type.
    """
    start = PAGE.index('| of a simulated camera |')
    lines = PAGE[start : PAGE.index('\n\n', start)].splitlines()[2:]
    rows = [re.findall(r'`([^`]+)`', line) for line in lines]
    labels = [line.split('|')[1].strip() for line in lines]
    return {
        label: (row[0], row[1] if len(row) > 1 else '')
        for label, row in zip(labels, rows, strict=True)
    }


def test_the_table_has_the_names_of_the_code() -> None:
    from penguin_ros.ros.camera_node.parameters import CameraParameters
    from penguin_ros.ros.conversions.topics import IMAGE_TOPIC, INFO_TOPIC, OPTICAL_FRAME
    from penguin_ros.ros.sim_camera.parameters import SimCameraParameters

    names = table()
    assert names['pictures'] == (IMAGE_TOPIC, 'sensor_msgs/Image')
    assert names['pictures as JPEG'] == (f'{IMAGE_TOPIC}/compressed', 'sensor_msgs/CompressedImage')
    assert names['calibration'] == (INFO_TOPIC, 'sensor_msgs/CameraInfo')
    assert names['coordinate frame'][0] == OPTICAL_FRAME == CameraParameters().frame_id
    simulated = SimCameraParameters()
    assert (simulated.topic, simulated.info_topic, simulated.frame_id) == (
        IMAGE_TOPIC,
        INFO_TOPIC,
        OPTICAL_FRAME,
    )


def test_the_default_camera_of_the_node_and_of_the_parameter_files_looks_there() -> None:
    from penguin_ros.ros.conversions.topics import IMAGE_TOPIC
    from penguin_ros.ros.node.parameters import DEFAULT_CAMERAS

    assert [f'{name}/image' for name in DEFAULT_CAMERAS] == [IMAGE_TOPIC]
    usual = parameters_of('penguin.yaml')['/**']
    assert usual == {'cameras': DEFAULT_CAMERAS}
    assert 'cameras' not in parameters_of('simulation.yaml')['/**']


def test_the_demo_looks_there_too() -> None:
    from penguin_ros.demo.nodes import IMAGE_TOPIC as OF_THE_DEMO
    from penguin_ros.ros.conversions.topics import IMAGE_TOPIC

    assert OF_THE_DEMO == IMAGE_TOPIC


def test_parameters_for_simulated_worlds_exist() -> None:
    from penguin_ros.ros.sim_camera.parameters import SimCameraParameters

    sections = parameters_of('simulation.yaml')
    node, camera = dict(sections['/**']), dict(sections['/**/sim_camera'])
    assert node.pop('use_sim_time') is True and camera.pop('use_sim_time') is False, (
        'the camera makes the time'
    )
    assert {f'{section}.{key}' for section, values in node.items() for key in values} <= set(
        settings(PenguinConfig())
    )
    assert set(camera) <= set(vars(SimCameraParameters()))


def test_a_clip_of_the_node_is_a_whole_scene_and_never_two() -> None:
    """The node's clips reach back over clip.seconds with the newest frame of a scene last, and the
    pause between scenes is longer.
    """

    sections = parameters_of('simulation.yaml')
    clip_s, camera = settings(PenguinConfig())['clip.seconds'][0], sections['/**/sim_camera']
    assert isinstance(clip_s, float)
    assert camera['seconds'] < clip_s <= camera['pause']
    assert (
        int(camera['seconds'] * sections['/**']['clip']['fps']) + 1
        <= settings(PenguinConfig())['clip.max_frames'][0]
    )


def test_pictures_of_gazebos_camera_become_the_size_that_the_model_has_learnt() -> None:
    from gazebo_sdf import SdfOptions
    from support.frame_plans import video_plan

    from penguin_ros.preprocessing.frame_plan import PatchUnit

    visual = VisualConfig(**parameters_of('simulation.yaml')['/**']['visual'])
    picture = np.zeros((SdfOptions.height, SdfOptions.width, 3), np.uint8)
    moved = picture + np.uint8(200)  # a key frame of its own, and one that is not
    plan = video_plan([picture, moved, moved], PatchUnit(2, 14), visual)
    assert plan.sizes == ((112, 168),) * 3


def test_the_bridge_to_gazebo_has_the_same_names() -> None:
    if not BRIDGE.exists():
        pytest.skip(f'no {BRIDGE.name} in this version')
    bridged = {
        entry['ros_topic_name'].lstrip('/'): entry['ros_type_name'].replace('/msg/', '/')
        for entry in yaml.safe_load(BRIDGE.read_text())
    }
    names = table()
    for label in ('pictures', 'calibration', 'time'):
        topic, kind = names[label]
        assert bridged.get(topic.lstrip('/')) == kind, label
    if WORLD.exists():
        assert f'<gz_frame_id>{names["coordinate frame"][0]}</gz_frame_id>' in WORLD.read_text()


def parameters_of(file: str) -> dict[str, Any]:
    """Returns the sections of a parameter file."""
    return {
        name: section['ros__parameters']
        for name, section in yaml.safe_load((ROOT / 'config' / file).read_text()).items()
    }
