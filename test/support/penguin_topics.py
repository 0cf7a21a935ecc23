# SPDX-License-Identifier: Apache-2.0
"""What a penguin node with a raw and a compressed camera publishes, without one: for the nodes that
listen to it.
"""

from __future__ import annotations

import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from penguin_msgs.msg import (
    CameraStatus,
    Caption,
    Evidence,
    FrameRef,
    RuleState,
    RuleStates,
    Status,
)
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from support.graph import Graph

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.conversions.times import time_message

BEGIN = 1_000 * NANOSECONDS
PERIOD = NANOSECONDS // 10
WIDTH, HEIGHT, GRAY = 320, 240, 200
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class PenguinTopics:
    """The node /r1/penguin; `now_ns` is the stamp of its newest frame."""

    def __init__(self, graph: Graph, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
        self.graph = graph
        self._raw, self._jpeg = pictures(*size)
        self._count = 0
        node = graph.node
        self._caption = node.create_publisher(Caption, '/r1/penguin/caption', 10)
        self._rules = node.create_publisher(RuleStates, '/r1/penguin/rule_states', LATCHED)
        self._status = node.create_publisher(Status, '/r1/penguin/status', LATCHED)
        self.front = node.create_publisher(Image, '/r1/front/image', 10)
        self.rear = node.create_publisher(CompressedImage, '/r1/rear/image/compressed', 10)
        cameras = [
            CameraStatus(name='front', topic='/r1/front/image', transport='raw'),
            CameraStatus(name='rear', topic='/r1/rear/image/compressed', transport='compressed'),
        ]
        self._status.publish(Status(lifecycle_state='active', cameras=cameras))
        self.diagnostics: list[Any] = graph.collect(DiagnosticArray, '/diagnostics')

    def wait_for_listener(self) -> None:
        """Waits until somebody listens to captions."""
        self.graph.wait_for(self._caption.get_subscription_count, 30.0, 'a listener')

    def say(
        self, text: str, camera: str = 'front', age_s: float = 0.0, clip_s: float = 0.0
    ) -> None:
        """Publishes a caption about the newest frame, or the last `clip_s`."""
        end_ns = self.now_ns - round(age_s * NANOSECONDS)
        end, start = time_message(end_ns), time_message(end_ns - round(clip_s * NANOSECONDS))
        evidence = Evidence(start=start, end=end, frames=[FrameRef(stamp=end, camera=camera)])
        header = Header(stamp=end)
        self._caption.publish(Caption(header=header, camera=camera, text=text, evidence=evidence))

    def alarm(self, *active: str, camera: str = 'front') -> None:
        """Publishes that the events of these rules are under way, and of no others."""
        since = time_message(self.now_ns)
        state = RuleState.ACTIVE
        self._rules.publish(
            RuleStates(
                states=[
                    RuleState(rule=rule, camera=camera, state=state, probability=0.9, since=since)
                    for rule in active
                ]
            )
        )

    def leave(self) -> None:
        """Ends as a node does that is killed: nothing is taken back."""
        for publisher in (self._caption, self._rules, self._status):
            self.graph.node.destroy_publisher(publisher)

    @property
    def now_ns(self) -> int:
        """The stamp of the newest frame."""
        return BEGIN + self._count * PERIOD

    def frame(self) -> int:
        """Publishes one frame of each camera and returns its stamp."""
        self._count += 1
        header = Header(stamp=time_message(self.now_ns), frame_id='front_optical')
        self._raw.header = self._jpeg.header = header
        self.front.publish(self._raw)
        self.rear.publish(self._jpeg)
        return self.now_ns

    @contextmanager
    def running(self) -> Iterator[None]:
        """The cameras publish while the graph spins."""
        timer = self.graph.node.create_timer(0.1, self.frame)
        try:
            yield
        finally:
            self.graph.node.destroy_timer(timer)

    def values(self) -> dict[str, str]:
        """The values of the newest diagnostic entry."""
        found = [status for each in self.diagnostics for status in each.status]
        return {pair.key: pair.value for pair in found[-1].values} if found else {}


def pictures(width: int, height: int) -> tuple[Image, CompressedImage]:
    """A gray picture, raw and as JPEG."""
    pixels = np.full((height, width, 3), GRAY, np.uint8)
    raw = Image(height=height, width=width, step=3 * width, encoding='rgb8')
    raw.data = array.array('B', pixels.tobytes())
    content = array.array('B', cv2.imencode('.jpg', pixels)[1].tobytes())
    return raw, CompressedImage(format='jpeg', data=content)
