# SPDX-License-Identifier: Apache-2.0
"""The publishers of captions on a real node."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('penguin_msgs.msg', reason='penguin_msgs is not built')

from penguin_msgs.msg import Caption
from rclpy.node import Node
from support.graph import Domain, ros_context

from penguin_ros.errors import BackendError, ClockJumped
from penguin_ros.frame import FrameType
from penguin_ros.request import Answer, Evidence, FrameRef
from penguin_ros.ros.node.captions import CAPTION_DEPTH, CaptionPublisher

OVERRIDE = 'qos_overrides./first/caption.publisher.depth'


def depths(node: Node) -> tuple[Any, ...]:
    """The depths that rclpy declares as parameters of the two overridable topics."""
    return tuple(
        node.get_parameter(f'qos_overrides.{node.get_fully_qualified_name()}/{topic}').value
        for topic in ('caption.publisher.depth', 'caption_text.publisher.depth')
    )


def test_an_override_of_one_topic_changes_neither_the_other_nor_those_of_later_nodes() -> None:
    """rclpy writes an override into the profile that it is given."""
    domain = Domain()
    unused: Any = None
    with ros_context(domain, '-p', f'{OVERRIDE}:=3') as context:
        for name, depth in (('first', 3), ('second', CAPTION_DEPTH)):
            node = Node(name, context=context)
            CaptionPublisher(node, unused, unused, unused)
            assert depths(node) == (depth, CAPTION_DEPTH)
            node.destroy_node()
    domain.close()


def test_an_error_does_not_take_the_place_of_the_last_caption() -> None:
    domain = Domain()
    unused: Any = None
    with ros_context(domain) as context:
        node = Node('captions', context=context)
        captions = CaptionPublisher(node, unused, unused, unused)
        latched: list[Caption] = []
        captions._last_caption.publish = latched.append
        evidence = Evidence(frames=(FrameRef(5, 'front', '', FrameType.KEY),), end_ns=5)
        captions._publish(Answer('a', 'q', 'front', 'A box.', evidence), 0)
        for error in (ClockJumped('time jumped'), BackendError('it failed')):
            captions._publish(Answer('b', 'q', 'front', '', Evidence(), error), 0)
        assert [message.text for message in latched] == ['A box.'] and captions.published == 3
        assert latched[0].header.stamp.nanosec == 5
        node.destroy_node()
    domain.close()
