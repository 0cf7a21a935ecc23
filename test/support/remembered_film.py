# SPDX-License-Identifier: Apache-2.0
"""A film that a memory node remembers with its pictures, and a penguin node that says what is on
them.
"""

from __future__ import annotations

import time
from typing import Any

from penguin_msgs.msg import Answer, CameraStatus, FrameRef, Status
from rclpy.qos import DurabilityPolicy, QoSProfile
from support.graph import SyntheticCamera, stamp_ns
from support.memory_graph import MemoryGraph

from penguin_ros.frame import NANOSECONDS

PICTURES = {'pose.base_frame': '', 'picture.enabled': True, 'picture.rate': 20.0}
BEGIN = (int(time.time()) - 3600) * NANOSECONDS
"""An hour ago: what is older than a year is forgotten."""


def film(memory: MemoryGraph, count: int, spacing_s: float = 1.0) -> list[int]:
    """Publishes frames of the camera `front` and a caption about each: `scene 0`, ... Returns the
    frames' stamps.
    """
    graph = memory.graph
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    status = graph.node.create_publisher(Status, f'{memory.penguin}/status', latched)
    camera = CameraStatus(name='front', topic='/camera/image', transport='raw')
    status.publish(Status(cameras=[camera]))
    film = SyntheticCamera(graph, '/camera/image')
    graph.wait_for(film.publisher.get_subscription_count, what='a subscriber of the camera')
    stamps = [BEGIN + round(number * spacing_s * NANOSECONDS) for number in range(count)]
    for number, stamp in enumerate(stamps):
        taken = frames_taken(memory)
        while frames_taken(memory) == taken:  # the first ones may be lost before all is connected
            film.publish(stamp)
            graph.holds_for(lambda taken=taken: frames_taken(memory) == taken, 1.5)
        memory.say(f'scene {number} with a box', stamp, seconds=0.3)
    memory.wait_for_texts(*(f'scene {number} with a box' for number in range(count)))
    return stamps


def frames_taken(memory: MemoryGraph) -> int:
    return int(memory.value('pictures', 'frames taken') or '0')


def yes_for(*stamps: int) -> Any:
    """Makes answers: yes is likely for pictures of these stamps, else no."""

    def answer(goal: Any) -> Answer:
        is_there = [stamp_ns(each) in stamps for each in goal.image_stamps]
        chance = 0.9 if any(is_there) else 0.2
        message = Answer(id=goal.id, question=goal.question, text='yes', choices=list(goal.choices))
        if goal.choices:
            message.probabilities = [chance, 1 - chance]
        message.evidence.frames = [FrameRef(stamp=each) for each in goal.image_stamps]
        return message

    return answer
