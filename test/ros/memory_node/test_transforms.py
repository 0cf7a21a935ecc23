# SPDX-License-Identifier: Apache-2.0
"""tf2_ros is used where it can be imported; a stand-in with the methods that are called takes its
place here, since the wheels have none.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_ros.ros.memory_node import transforms
from penguin_ros.ros.memory_node.transforms import NONE, TF2_ROS, open_transforms
from penguin_ros.transform_tree import PoseUnknown

NEWEST_NS = 100


class TransformException(Exception):
    """What tf2_ros raises."""


class Buffer:
    """Knows x = time, up to NEWEST_NS, and that `map` and `base_link` are connected."""

    def __init__(self, cache_time: Any) -> None:
        self.cache_ns = cache_time.nanoseconds
        self.is_cleared = False

    def get_latest_common_time(self, target: str, source: str) -> Any:
        if {target, source} != {'map', 'base_link'}:
            raise TransformException(f'{source} is not connected')
        return SimpleNamespace(nanoseconds=NEWEST_NS)

    def lookup_transform(self, target: str, source: str, time: Any) -> Any:
        if time.nanoseconds > NEWEST_NS:
            raise TransformException('extrapolation into the future')
        at = SimpleNamespace(x=float(time.nanoseconds), y=0.0, z=0.0)
        turn = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
        return SimpleNamespace(transform=SimpleNamespace(translation=at, rotation=turn))

    def all_frames_as_yaml(self) -> str:
        return 'base_link:'

    def clear(self) -> None:
        self.is_cleared = True


@pytest.fixture
def tf2_ros(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType('tf2_ros')
    named = {
        'Buffer': Buffer,
        'TransformException': TransformException,
        'TransformListener': lambda buffer, node: None,
    }
    for name, value in named.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    return module


def test_tf2_ros_is_asked_at_the_stamp_or_at_its_newest_time_with_the_age(
    tf2_ros: ModuleType,
) -> None:
    reader = open_transforms(SimpleNamespace(), SimpleNamespace(), 30.0)  # type: ignore[arg-type]
    assert reader.reader == TF2_ROS
    assert reader.state == ''
    inside = reader.pose('map', '/base_link', 60)
    assert (inside.position, inside.age_ns, inside.is_beyond) == ((60.0, 0.0, 0.0), 0, False)
    beyond = reader.pose('map', 'base_link', 130)
    assert (beyond.position, beyond.age_ns, beyond.is_beyond) == ((100.0, 0.0, 0.0), 30, True)
    with pytest.raises(PoseUnknown, match='not connected'):
        reader.pose('map', 'arm', 60)


def test_where_neither_can_be_imported_there_are_no_poses_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, 'tf2_msgs', None)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, 'tf2_msgs.msg', None)  # type: ignore[arg-type]
    reader = transforms.open_transforms(SimpleNamespace(), SimpleNamespace(), 30.0)  # type: ignore[arg-type]
    assert reader.reader == NONE
    assert 'tf2_msgs' in reader.state
    with pytest.raises(PoseUnknown):
        reader.pose('map', 'base_link', 1)
