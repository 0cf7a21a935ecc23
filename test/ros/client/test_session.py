# SPDX-License-Identifier: Apache-2.0
"""Which nodes a session finds, by whichever call the distribution has for it."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

import rclpy.action

from penguin_ros.ros.client.session import ACTION_TYPE, Session

ACTIONS = [
    ('/robot/penguin/answer_question', [ACTION_TYPE]),
    ('/penguin/answer_question', [ACTION_TYPE]),
    ('/penguin/other', [ACTION_TYPE]),
    ('/arm/answer_question', ['arm_msgs/action/AnswerQuestion']),
]


def found_by(node: Any) -> list[str]:
    return Session(node, None).answering_nodes()


def test_the_nodes_that_offer_the_action_are_found_by_the_method_of_the_node() -> None:
    """It came with Lyrical, which warns of the function."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        node = SimpleNamespace(get_action_names_and_types=lambda: ACTIONS)
        assert found_by(node) == ['/penguin', '/robot/penguin']


def test_or_by_the_function_where_the_node_has_no_such_method(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rclpy.action, 'get_action_names_and_types', lambda node: ACTIONS)
    assert found_by(SimpleNamespace()) == ['/penguin', '/robot/penguin']
