# SPDX-License-Identifier: Apache-2.0
"""Hears the captions, answers and events of penguin nodes and hands them to the recorder.

Everything runs on the executor's thread. The middleware holds what comes while that is busy: the
depth is that of the publishers' bursts and of a slow disk, far more than captions in a minute.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from penguin_msgs.msg import Answer, Caption, Event
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from penguin_ros.memory.entry import NewEntry
from penguin_ros.ros.conversions.memory_messages import answer_entry, caption_entry, event_entry
from penguin_ros.ros.memory_node.recorder import Heard, Recorder
from penguin_ros.ros.process.callback_guard import CallbackGuard

DEPTH = 1000
HEARD = {'caption': Caption, 'answer': Answer, 'event': Event}
OWN_QUESTION = 'memory/'
"""Ids of questions that a memory node asks begin so: their answers are its own, not memories."""
MAX_ID_CHARACTERS = 1000


class Listener:
    """Subscribes to the topics of `nodes`, full names of penguin nodes.

    `counts` says what was not handed on, by cause.
    """

    def __init__(
        self, node: Node, nodes: Sequence[str], recorder: Recorder, guard: CallbackGuard
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._node = node
        self._recorder = recorder
        self._topics = {name: f'{name}/caption' for name in nodes}
        group = ReentrantCallbackGroup()
        for name in nodes:
            for topic, kind in HEARD.items():
                node.create_subscription(
                    kind,
                    f'{name}/{topic}',
                    guard.wrap(self._taker(name, topic)),
                    QoSProfile(depth=DEPTH),
                    callback_group=group,
                )

    def missing(self) -> tuple[str, ...]:
        """Returns the nodes that publish no captions now."""
        return tuple(
            name for name, topic in self._topics.items() if not self._node.count_publishers(topic)
        )

    def _taker(self, name: str, topic: str) -> Callable[[Any], None]:
        take = {
            'caption': self._on_caption,
            'answer': self._on_answer,
            'event': self._on_event,
        }[topic]
        return lambda message: take(name, message)

    def _on_caption(self, name: str, message: Caption) -> None:
        if message.state == Caption.ERROR:
            self.counts['captions with an error'] += 1
        elif not message.text.strip():
            self.counts['captions without a text'] += 1
        else:
            self._hand_on(caption_entry(name, message))

    def _on_answer(self, name: str, message: Answer) -> None:
        if message.id.startswith(OWN_QUESTION):
            self.counts['answers to questions of a memory'] += 1
        elif message.error_code:
            self.counts['answers with an error'] += 1
        else:
            # The pictures of a question that brought its own are none of a camera.
            self._hand_on(answer_entry(name, message), may_have_picture=bool(message.camera))

    def _on_event(self, name: str, message: Event) -> None:
        self._hand_on(event_entry(name, message))

    def _hand_on(self, entry: NewEntry, may_have_picture: bool = True) -> None:
        self._recorder.take(Heard(entry, time.monotonic_ns(), may_have_picture))
