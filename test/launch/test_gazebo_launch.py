# SPDX-License-Identifier: Apache-2.0
"""launch/gazebo.launch.py, the bridge, the world and the node: one name and one type for each topic
on its way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from support.launch_stand_ins import (
    arguments_of,
    assert_model_is_completed,
    assert_node_is_included,
    described,
    kind,
)

pytest.importorskip('rclpy', reason='no ROS 2 here')

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = yaml.safe_load((ROOT / 'config' / 'gazebo_bridge.yaml').read_text())
WORLD = ElementTree.parse(ROOT / 'worlds' / 'penguin_demo.sdf')
CONVERSIONS = {
    'sensor_msgs/msg/Image': 'gz.msgs.Image',
    'sensor_msgs/msg/CameraInfo': 'gz.msgs.CameraInfo',
    'rosgraph_msgs/msg/Clock': 'gz.msgs.Clock',
}
"""Pairs of the table in the README of ros_gz_bridge."""
MEMBERS = {'ros_topic_name', 'gz_topic_name', 'ros_type_name', 'gz_type_name', 'direction'}


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the launch file describes, made of the stand-ins."""
    return described(monkeypatch, 'gazebo.launch.py')


def started(entities: list[Any], **given: str) -> list[Any]:
    """What it starts for these arguments, beside the penguin node."""
    function = next(entity for entity in entities if kind(entity) == 'OpaqueFunction').named[
        'function'
    ]
    bridge_file = str(ROOT / 'config' / 'gazebo_bridge.yaml')
    return list(function(arguments_of(entities, **{'bridge_file': bridge_file, **given})))


def bridged(ros_type: str) -> dict[str, str]:
    (entry,) = (entry for entry in BRIDGE if entry['ros_type_name'] == ros_type)
    return dict(entry)


def test_the_bridge_file_has_the_members_that_the_bridge_reads_and_types_that_belong_together() -> (
    None
):
    assert {entry['ros_type_name']: entry['gz_type_name'] for entry in BRIDGE} == CONVERSIONS
    assert all(set(entry) == MEMBERS and entry['direction'] == 'GZ_TO_ROS' for entry in BRIDGE)


def test_the_worlds_camera_publishes_what_is_bridged() -> None:
    from gazebo_sdf import IMAGE_TOPIC, INFO_TOPIC

    topic = '/' + (WORLD.findtext(".//sensor[@type='camera']/topic") or '')
    assert topic == IMAGE_TOPIC == bridged('sensor_msgs/msg/Image')['gz_topic_name']
    assert INFO_TOPIC == bridged('sensor_msgs/msg/CameraInfo')['gz_topic_name']
    assert bridged('rosgraph_msgs/msg/Clock')['gz_topic_name'] == '/clock'


def test_the_node_looks_at_what_the_bridge_publishes_in_the_same_namespace(
    entities: list[Any],
) -> None:
    from penguin_ros.ros.conversions.topics import (
        IMAGE_TOPIC,
        INFO_TOPIC,
        OPTICAL_FRAME,
        RAW,
        TYPES,
    )

    image = bridged(TYPES[RAW])
    assert image['ros_topic_name'] == IMAGE_TOPIC, "relative, as the node's"
    assert bridged('sensor_msgs/msg/CameraInfo')['ros_topic_name'] == INFO_TOPIC
    assert bridged('rosgraph_msgs/msg/Clock')['ros_topic_name'] == '/clock', (
        'absolute: time is one for all'
    )
    assert WORLD.findtext(".//sensor[@type='camera']/gz_frame_id") == OPTICAL_FRAME
    _, bridge = started(entities, namespace='robot')
    assert (bridge.named['package'], bridge.named['executable']) == (
        'ros_gz_bridge',
        'parameter_bridge',
    )
    assert bridge.named['namespace'] == 'robot' and 'remappings' not in bridge.named
    (parameters,) = bridge.named['parameters']
    assert parameters['config_file'].values[0] == str(ROOT / 'config' / 'gazebo_bridge.yaml')


def test_every_argument_is_declared_with_a_default_and_a_description(entities: list[Any]) -> None:
    declared = [entity.named for entity in entities if kind(entity) == 'DeclareLaunchArgument']
    assert len(declared) == 9
    assert all('default_value' in named and len(named['description']) > 20 for named in declared)


@pytest.mark.parametrize(
    'headless, how',
    [
        ('true', '-r -s --headless-rendering'),
        ('True', '-r -s --headless-rendering'),
        ('false', '-r'),
    ],
)
def test_gazebo_runs_the_world_with_or_without_a_window_and_ends_the_rest_with_it(
    entities: list[Any], headless: str, how: str
) -> None:
    gazebo, _ = started(entities, headless=headless)
    assert kind(gazebo) == 'IncludeLaunchDescription'
    assert gazebo.values[0].values[0].perform({}) == '/share/ros_gz_sim/launch/gz_sim.launch.py'
    assert dict(gazebo.named['launch_arguments']) == {
        'gz_args': f'{how} /share/penguin_ros/worlds/penguin_demo.sdf',
        'on_exit_shutdown': 'true',
    }


def test_rviz_comes_when_asked_for_and_shows_the_cameras_topic(entities: list[Any]) -> None:
    assert [kind(entity) for entity in started(entities)] == ['IncludeLaunchDescription', 'Node']
    viewer = started(entities, rviz='True')[-1]
    assert viewer.named['executable'] == 'rviz2'
    assert viewer.named['arguments'][1].perform({}) == '/share/penguin_ros/config/gazebo.rviz'
    (shown,) = yaml.safe_load((ROOT / 'config' / 'gazebo.rviz').read_text())[
        'Visualization Manager'
    ]['Displays']
    assert shown['Topic']['Value'] == bridged('sensor_msgs/msg/Image')['ros_topic_name']


def test_the_node_is_started_by_its_own_launch_file_in_the_worlds_time(
    entities: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_node_is_included(entities, monkeypatch)


def test_without_arguments_the_node_runs_the_model_that_is_included(
    entities: list[Any], tmp_path: Path
) -> None:
    assert_model_is_completed(entities, tmp_path)


def test_what_is_installed_is_where_the_launch_file_looks() -> None:
    text = (ROOT / 'setup.py').read_text()
    for pattern in (
        "glob('worlds/*')",
        "glob('config/*')",
        "glob('launch/*.launch.py')",
    ):
        assert pattern in text
    assert {path.name for path in (ROOT / 'worlds').iterdir()} >= {
        'penguin_demo.sdf',
        'cone.obj',
    }, 'mesh beside world'
    assert {uri.text for uri in WORLD.iter('uri')} == {'cone.obj'}
