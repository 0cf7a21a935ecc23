# SPDX-License-Identifier: Apache-2.0
"""Poses of the past are those of a straightforward calculation with matrices."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from penguin_ros import transform_tree
from penguin_ros.transform_tree import PoseUnknown, Transform, TransformTree

SECOND = 10**9


def turned(angle: float, axis: tuple[float, float, float]) -> tuple[float, float, float, float]:
    length = math.sqrt(sum(part * part for part in axis))
    x, y, z = (part / length * math.sin(angle / 2) for part in axis)
    return x, y, z, math.cos(angle / 2)


def matrix(translation: tuple[float, ...], rotation: tuple[float, ...]) -> NDArray[np.float64]:
    x, y, z, w = rotation
    result = np.eye(4)
    result[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    result[:3, 3] = translation
    return result


def test_a_pose_is_the_product_of_the_matrices_on_its_way_whichever_frames_are_asked_for() -> None:
    chance = random.Random(5)
    tree = TransformTree()
    frames, in_root = ['map'], {'map': np.eye(4)}
    for number in range(40):
        parent = chance.choice(frames)
        translation = tuple(chance.uniform(-5, 5) for _ in range(3))
        rotation = turned(chance.uniform(-3, 3), tuple(chance.uniform(0.1, 1) for _ in range(3)))
        name = f'frame{number}'
        tree.add(Transform(SECOND, parent, name, translation, rotation), number % 2 == 0)
        frames.append(name)
        in_root[name] = in_root[parent] @ matrix(translation, rotation)
    for _ in range(200):
        target, source = chance.choice(frames), chance.choice(frames)
        pose = tree.pose(target, source, SECOND)
        expected = np.linalg.inv(in_root[target]) @ in_root[source]
        np.testing.assert_allclose(matrix(pose.position, pose.rotation), expected, atol=1e-9)


def test_between_two_transforms_position_and_rotation_are_in_proportion_on_the_shorter_way() -> (
    None
):
    tree = TransformTree()
    axis = (0.0, 0.0, 1.0)
    x, y, z, w = turned(1.2, axis)
    tree.add(Transform(0, 'map', 'base', (0.0, 0.0, 0.0), turned(0.2, axis)))
    tree.add(Transform(4 * SECOND, 'map', 'base', (8.0, -4.0, 0.0), (-x, -y, -z, -w)))
    pose = tree.pose('map', 'base', SECOND)
    assert pose.position == pytest.approx((2.0, -1.0, 0.0))
    np.testing.assert_allclose(
        matrix((0, 0, 0), pose.rotation), matrix((0, 0, 0), turned(0.45, axis)), atol=1e-9
    )
    assert pose.age_ns == SECOND


def test_beyond_the_newest_transform_the_age_grows_and_before_the_oldest_nothing_is_told() -> None:
    tree = TransformTree(keep_seconds=2)
    for second in range(10, 20):
        tree.add(Transform(second * SECOND, 'map', 'base', (float(second), 0.0, 0.0)))
    tree.add(Transform(0, 'base', 'camera', (0.0, 0.0, 1.0)), is_static=True)
    late = tree.pose('map', 'camera', 22 * SECOND)
    assert late.position == pytest.approx((19.0, 0.0, 1.0))
    assert late.age_ns == 3 * SECOND
    assert late.is_beyond
    assert not tree.pose('map', 'camera', 18 * SECOND + 1).is_beyond
    with pytest.raises(PoseUnknown) as error:
        tree.pose('map', 'camera', 16 * SECOND)
    assert error.value.cause == 'past'


def test_transforms_that_come_late_are_put_in_their_place() -> None:
    tree = TransformTree()
    for second in (1, 5, 3, 2, 4, 3):
        tree.add(Transform(second * SECOND, 'map', 'base', (float(second), 0.0, 0.0)))
    for half in range(2, 11):
        pose = tree.pose('map', 'base', half * SECOND // 2)
        assert pose.position[0] == pytest.approx(half / 2)


def test_frames_without_a_way_between_them_are_named_with_the_cause() -> None:
    tree = TransformTree()
    tree.add(Transform(1, 'map', 'base'))
    tree.add(Transform(1, 'other', 'arm'))
    for target, source, cause in (
        ('map', 'arm', 'unconnected'),
        ('map', 'nothing', 'frame'),
        ('world', 'base', 'frame'),
    ):
        with pytest.raises(PoseUnknown) as error:
            tree.pose(target, source, 1)
        assert error.value.cause == cause
    tree.add(Transform(1, 'base', 'map'))
    with pytest.raises(PoseUnknown) as error:
        tree.pose('other', 'base', 1)
    assert error.value.cause == 'loop'


@pytest.mark.parametrize(
    'bad',
    [
        Transform(1, '', 'base'),
        Transform(1, 'map', ''),
        Transform(1, 'map', 'map'),
        Transform(1, 'map', 'b' * 1000),
        Transform(1, 'map', 'base', (math.nan, 0.0, 0.0)),
        Transform(1, 'map', 'base', (0.0, math.inf, 0.0)),
        Transform(1, 'map', 'base', (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        Transform(1, 'map', 'base', (0.0, 0.0, 0.0), (math.nan, 0.0, 0.0, 1.0)),
    ],
)
def test_an_unusable_transform_is_counted_and_changes_nothing(bad: Transform) -> None:
    tree = TransformTree()
    tree.add(Transform(1, 'map', 'base', (1.0, 2.0, 3.0)))
    tree.add(bad)
    assert tree.pose('map', 'base', 1).position == (1.0, 2.0, 3.0)
    assert tree.counts['refused: unusable'] == 1


def test_a_slash_before_a_name_and_a_length_of_the_rotation_do_not_matter() -> None:
    tree = TransformTree()
    tree.add(Transform(1, '/map', '/base', (1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 3.0)))
    assert tree.pose('map', '/base', 1).rotation == (0.0, 0.0, 0.0, 1.0)


def test_a_time_that_starts_again_begins_anew_and_static_transforms_stay() -> None:
    tree = TransformTree(keep_seconds=5)
    tree.add(Transform(100 * SECOND, 'map', 'base', (100.0, 0.0, 0.0)))
    tree.add(Transform(0, 'base', 'camera'), is_static=True)
    tree.add(Transform(SECOND, 'map', 'base', (1.0, 0.0, 0.0)))
    assert tree.pose('map', 'camera', SECOND).position[0] == 1.0
    tree.clear()
    assert tree.frames == ('camera',)


def test_neither_frames_nor_transforms_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform_tree, 'MAX_FRAMES', 10)
    monkeypatch.setattr(transform_tree, 'MAX_SAMPLES', 100)
    tree = TransformTree(keep_seconds=1e6)
    for number in range(50):
        tree.add(Transform(1, 'map', f'frame{number}'))
    assert len(tree.frames) == 10
    assert tree.counts['refused: too many frames'] == 40
    for number in range(1000):
        tree.add(Transform(number * SECOND, 'map', 'frame0', (float(number), 0.0, 0.0)))
    assert tree.pose('map', 'frame0', 900 * SECOND).position[0] == 900.0
    with pytest.raises(PoseUnknown):
        tree.pose('map', 'frame0', 899 * SECOND)
