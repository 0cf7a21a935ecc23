# SPDX-License-Identifier: Apache-2.0
"""The checks of what is on the air: image topics, received as a camera input of the node receives
them, and running penguin nodes. Everything runs on the thread that spins the session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from penguin_ros.clip_buffer import Admission, ClipBuffer
from penguin_ros.config import PenguinConfig
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.frame import Frame
from penguin_ros.settings import with_values

MAX_TOPICS = 16
DISCOVERY_S = 5.0
SETTLE_S = 1.0
"""Fast DDS announces a participant every 3 s; after the first topics are seen, the others follow
quickly.
"""

EVERY_FRAME = {'clip.fps': 240.0}


def live(seconds: float) -> Iterator[Finding]:
    """Listens for `seconds` to every image topic that has a publisher, at most MAX_TOPICS of them.
    A fault names its cause.
    """
    from penguin_ros.ros.camera_input.discovery import image_topics
    from penguin_ros.ros.client.session import session

    with session('penguin_doctor') as listening:
        if listening.spin_until(lambda: bool(image_topics(listening.node)), DISCOVERY_S):
            listening.spin_until(lambda: False, SETTLE_S)
        topics = image_topics(listening.node)
        for name in listening.answering_nodes():
            yield Finding('penguin node', State.OK, name)
        if not topics:
            yield Finding('cameras', State.NOTE, 'no topic carries images on this ROS_DOMAIN_ID')
            return
        if len(topics) > MAX_TOPICS:
            yield Finding(
                'cameras',
                State.NOTE,
                f'{len(topics)} topics carry images; the first {MAX_TOPICS} are heard',
            )
        inputs = {topic: _camera_input(listening.node, topic) for topic in topics[:MAX_TOPICS]}
        for camera in inputs.values():
            camera.start()
        listening.spin_until(lambda: False, seconds)
        for topic, camera in inputs.items():
            yield _finding(topic, camera.health())
            camera.stop()


def _camera_input(node: Any, topic: str) -> Any:
    from penguin_ros.ros.camera_input.camera_input import CameraInput, FrameSinks
    from penguin_ros.ros.conversions.topics import COMPRESSED, RAW, TYPES, CameraSetting
    from penguin_ros.ros.process.callback_guard import CallbackGuard

    types = next(types for name, types in node.get_topic_names_and_types() if name == topic)
    suffix = f'/{COMPRESSED}'
    is_compressed = TYPES[COMPRESSED] in types and topic.endswith(suffix)
    base = topic.removesuffix(suffix) if is_compressed else topic
    camera = CameraSetting(base, base, COMPRESSED if is_compressed else RAW)
    config = with_values(PenguinConfig(), EVERY_FRAME)
    buffer = ClipBuffer(base, config.buffer)

    def add(frame: Frame) -> Admission:
        """Judges a frame by its stamp, as the node's buffer does, without keeping its pixels."""
        stamped = replace(frame, image=np.zeros((1, 1, 3), np.uint8))
        return buffer.add(stamped, int(node.get_clock().now().nanoseconds))

    guard = CallbackGuard(node.get_logger())
    return CameraInput(node, camera, config, guard, FrameSinks(add, on_drop=lambda cause: None))


def _finding(topic: str, health: Any) -> Finding:
    """Puts the verdict of the camera input in a line of the report."""
    drops = ', '.join(f'{count} dropped: {cause}' for cause, count in sorted(health.drops.items()))
    warnings = list(health.warnings.values())
    if health.reason:
        state = State.NOTE if health.cause in ('slow', 'still') else State.FAULT
        return Finding(topic, state, health.reason)
    published = f' of {health.publish_rate_hz:.1f} published' if health.publish_rate_hz else ''
    rate = f'{health.rate_hz:.1f} Hz taken{published} from {", ".join(health.publishers)}'
    text = '; '.join(filter(None, (rate, drops, *warnings, *health.notes.values())))
    return Finding(topic, State.FAULT if warnings else State.OK, text)
