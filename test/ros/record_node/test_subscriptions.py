# SPDX-License-Identifier: Apache-2.0
"""Topics are taken as soon as they are published; one that cannot be recorded holds up no other."""

from __future__ import annotations

import logging
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from std_msgs.msg import Header, String

from penguin_ros.recording.definitions import UnknownMessage
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.record_node.subscriptions import Subscriptions


def test_a_message_without_a_definition_is_refused_and_the_next_topic_is_taken(
    fresh_graph: Any,
) -> None:
    def check(kind: str) -> None:
        if kind == 'std_msgs/msg/String':
            raise UnknownMessage(f'{kind} cannot be recorded', 'it has no definition here')

    node, taken = fresh_graph.node, list[str]()
    subscriptions = Subscriptions(node, CallbackGuard(logging.getLogger()), check)
    subscriptions.want(['/first', '/second'], lambda topic, kind, content: taken.append(topic))
    node.create_publisher(String, '/first', 10)
    publisher = node.create_publisher(Header, '/second', 10)

    def is_taken() -> bool:
        subscriptions.look()
        publisher.publish(Header())
        return bool(taken)

    fresh_graph.wait_for(is_taken)
    assert set(taken) == {'/second'}
    assert 'no definition' in subscriptions.refused['/first']
    assert subscriptions.missing == ()
