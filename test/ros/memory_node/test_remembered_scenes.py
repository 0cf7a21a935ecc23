# SPDX-License-Identifier: Apache-2.0
"""From a camera to an answer about the past: scenes of the simulated world, the included model, a
moving robot, and a memory node that is killed in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from penguin_msgs.msg import ErrorCode
from std_msgs.msg import String
from support.built_messages import import_messages
from support.graph import Graph, stamp_ns
from support.live_node import LiveNode
from support.memory_graph import MemoryGraph

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.ros.sim_camera.sim_camera import TRUTH_QOS
from penguin_ros.shipped import shipped_model
from penguin_ros.simulation.ground_truth import GroundTruth, from_json

pytest.importorskip('mujoco', reason='mujoco is not installed')

WORLD = 'penguin_ros.ros.sim_camera.main'
MODEL: dict[str, Any] = {
    'model.checkpoint': 'penguin_sim',
    'model.threads': 1,
    'model.max_length': 2048,
    'clip.fps': 1.0,
    'clip.max_frames': 4,
    'clip.window': 'recent',
    'visual.policy': 'fixed',
    'visual.key_tokens': 24,
    'visual.intermediate_tokens': 24,
    'visual.max_visual_tokens': 512,
    'caption.period': 1.0,
    'caption.max_tokens': 96,
    'question.max_tokens': 64,
}
SCENES = 6
SPEED = 0.5
"""Metres that the robot goes in a second, along x from where it was when the test began."""


class Drive:
    """A robot that drives along x, so that its place tells the time."""

    def __init__(self, graph: Graph) -> None:
        from geometry_msgs.msg import TransformStamped

        self._kind, self._transform = import_messages('tf2_msgs').TFMessage, TransformStamped
        self._node = graph.node
        self.start_ns = graph.node.get_clock().now().nanoseconds
        self._publisher = graph.node.create_publisher(self._kind, '/tf', 100)
        graph.node.create_timer(0.05, self._move)

    def x(self, time_ns: int) -> float:
        """Returns where it is at a time, in metres."""
        return (time_ns - self.start_ns) / NANOSECONDS * SPEED

    def _move(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        moved = self._transform(child_frame_id='base_link')
        moved.header.frame_id = 'map'
        moved.header.stamp = time_message(now_ns)
        moved.transform.translation.x = self.x(now_ns)
        self._publisher.publish(self._kind(transforms=[moved]))


def interval_of(truth: GroundTruth) -> dict[str, Any]:
    return {
        'has_interval': True,
        'start': time_message(truth.start_ns),
        'end': time_message(truth.end_ns),
    }


def names_of(truth: GroundTruth) -> list[str]:
    return [f'{thing.colour} {thing.shape}' for thing in truth.scene.things]


def remembered(memory: MemoryGraph, truths: Sequence[GroundTruth]) -> list[GroundTruth]:
    """Returns the scenes of which something is remembered."""
    return [truth for truth in truths if memory.texts(**interval_of(truth))]


@pytest.mark.slow
def test_scenes_before_and_after_a_kill_of_the_memory_node_are_found_again_with_their_places(
    fresh_graph: Graph,
) -> None:
    if shipped_model() is None:
        pytest.skip('engines/penguin_sim has no weights here')
    memory = MemoryGraph(fresh_graph, fresh_graph.folder / 'store')
    told: list[Any] = fresh_graph.collect(String, '/sim_camera/ground_truth', TRUTH_QOS)
    drive = Drive(fresh_graph)
    parameters = {'picture.enabled': True, 'picture.rate': 10.0, 'picture.size': 168}
    process = memory.start(parameters, with_tf=True)
    penguin = LiveNode(fresh_graph, None, MODEL)
    penguin.wait_until('active')
    world = {'clock': 'wall', 'level': 1, 'seed': 5, 'seconds': 4.0, 'pause': 4.0}
    fresh_graph.start(WORLD, parameters=world)

    fresh_graph.wait_for(lambda: len(told) > SCENES // 2, 120, 'scenes before the kill')
    process.kill()
    captions = len(penguin.captions)
    memory.start(parameters, with_tf=True)
    fresh_graph.wait_for(lambda: len(told) > SCENES, 120, 'scenes after the kill')
    assert len(penguin.captions) > captions  # its death cost no caption

    truths = [from_json(each.data) for each in told[:SCENES]]
    known = remembered(memory, truths)
    assert {truth.number for truth in known} >= {0, 1, SCENES - 1}  # before and after
    check_places(memory, known, drive)
    found = [name for truth in known for name in names_of(truth) if is_found(memory, truth, name)]
    everything = [name for truth in known for name in names_of(truth)]
    assert len(found) >= 0.8 * len(everything), (found, everything)
    check_looking_again(memory, known)


def is_found(memory: MemoryGraph, truth: GroundTruth, name: str) -> bool:
    """True when the newest entry of the interval with these words lies within the scene."""
    response = memory.recall(words=f'"{name}"', is_newest_first=True, **interval_of(truth))
    assert response.success, response.message
    return any(stamp_ns(entry.end) <= truth.end_ns for entry in response.entries)


def check_places(memory: MemoryGraph, truths: Sequence[GroundTruth], drive: Drive) -> None:
    """The pose of each entry is that of its newest frame, not of when the caption came. What was
    seen before the node's second start and came after it has none.
    """
    entries = [entry for truth in truths for entry in memory.recall(**interval_of(truth)).entries]
    placed = [entry for entry in entries if entry.has_pose]
    assert len(placed) >= 0.8 * len(entries)
    for entry in placed:
        assert entry.pose.pose.position.x == pytest.approx(drive.x(stamp_ns(entry.end)), abs=0.1)


def check_looking_again(memory: MemoryGraph, truths: Sequence[GroundTruth]) -> None:
    """Things that were there are confirmed, others are not, and the evidence names the frames."""
    right = asked = confirmed = 0
    for truth in truths:
        name = names_of(truth)[0]
        for thing, answer in ((name, 'yes'), ('pink cylinder', 'no')):
            if answer == 'no' and thing in names_of(truth):
                continue
            response = memory.look_again(
                question=f'Is there a {thing}?', choices=['yes', 'no'], **interval_of(truth)
            )
            assert response.success, response.message
            assert response.answer.error_code == ErrorCode.NONE
            asked += 1
            right += response.answer.text.strip('. ').lower() == answer
            stamps = [stamp_ns(frame.stamp) for frame in response.answer.evidence.frames]
            assert stamps
            assert all(truth.start_ns <= stamp <= truth.end_ns for stamp in stamps)
            assert {frame.camera for frame in response.answer.evidence.frames} == {'camera'}
        seen = memory.last_seen(f'the {name}', **interval_of(truth))
        assert seen.success, seen.message
        confirmed += seen.is_confirmed
    assert right >= 0.8 * asked
    assert confirmed >= 0.6 * len(truths)
