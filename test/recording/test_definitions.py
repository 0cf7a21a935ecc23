# SPDX-License-Identifier: Apache-2.0
"""Definitions of messages for recordings: those of an installed ROS, with the hashes that ROS
itself gives them, and those that are here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip('rosbags', reason='recordings are written with it')

from penguin_ros.recording.definitions import ANNOTATIONS, Definitions, UnknownMessage


def nowhere(package: str) -> Path:
    raise LookupError(package)


def installed(package: str) -> Path:
    packages = pytest.importorskip('ament_index_python.packages')
    return Path(packages.get_package_share_directory(package))


@pytest.mark.parametrize(
    'kind', ['penguin_msgs/msg/Caption', 'penguin_msgs/msg/Event', 'sensor_msgs/msg/Image']
)
def test_a_message_has_the_hash_that_ros_gives_it(kind: str) -> None:
    package, _, name = kind.split('/')
    described = installed(package) / 'msg' / f'{name}.json'
    if not described.exists():
        pytest.skip('this ROS 2 has no hashes of types')
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(described.read_text())['type_hashes']
    }
    definitions = Definitions(installed)
    definitions.require(kind)
    assert definitions.store.hash_rihs01(kind) == hashes[kind]


def test_annotations_need_no_installed_package() -> None:
    definitions = Definitions(nowhere)
    assert definitions.foxglove().PointsAnnotation.LINE_LOOP == 2
    text, _ = definitions.store.generate_msgdef(ANNOTATIONS, ros_version=2)
    assert 'MSG: foxglove_msgs/TextAnnotation' in text


def test_a_message_that_nobody_knows_is_named() -> None:
    with pytest.raises(UnknownMessage, match='my_msgs/msg/Thing'):
        Definitions(nowhere).require('my_msgs/msg/Thing')


def test_a_definition_that_cannot_be_understood_is_named(tmp_path: Path) -> None:
    (tmp_path / 'msg').mkdir()
    (tmp_path / 'msg' / 'Thing.msg').write_text('int32 a\n%%%')
    with pytest.raises(UnknownMessage, match='my_msgs/msg/Thing'):
        Definitions(lambda package: tmp_path).require('my_msgs/msg/Thing')
