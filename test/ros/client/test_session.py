# SPDX-License-Identifier: Apache-2.0
"""Which nodes a session finds, by whichever call the distribution has for it."""

from __future__ import annotations

import time
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

import rclpy.action
from penguin_msgs.action import AnswerQuestion
from rclpy.action import ActionClient, ActionServer
from rclpy.node import Node
from support.silent_node import WAIT_S

from penguin_ros.ros.client.session import ACTION_TYPE, NodeNotFound, Session, session

ACTIONS = [
    ('/robot/penguin/answer_question', [ACTION_TYPE]),
    ('/penguin/answer_question', [ACTION_TYPE]),
    ('/penguin/other', [ACTION_TYPE]),
    ('/arm/answer_question', ['arm_msgs/action/AnswerQuestion']),
]


NODES = [('penguin', '/robot'), ('penguin', '/'), ('arm', '/')]


def found_by(node: Any) -> list[str]:
    node.count_publishers = lambda topic: 1
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


class Discovery:
    """A graph of which more is known with each round of the executor, as it is in the first moments
    of a node.
    """

    def __init__(
        self, *rounds: list[tuple[str, str]], left: list[tuple[str, list[str]]] | None = None
    ) -> None:
        self._rounds = list(rounds)
        self._left = left or []

    def spin_once(self, timeout_sec: float) -> None:
        time.sleep(0.1)
        self._rounds[:-1] = self._rounds[1:-1]

    def _there(self) -> tuple[str, ...]:
        return tuple(f'{namespace.rstrip("/")}/{name}/' for name, namespace in self._rounds[0])

    def count_publishers(self, topic: str) -> int:
        return topic.endswith('/_action/status') and topic.startswith(self._there())

    def get_action_names_and_types(self) -> list[tuple[str, list[str]]]:
        there = self._there()
        return self._left + [action for action in ACTIONS if action[0].startswith(there)]


def test_without_a_name_nobody_is_asked_by_chance_where_several_run() -> None:
    """One of them is always discovered first."""
    graph = Discovery([], [NODES[1]], [NODES[1]], NODES)
    with pytest.raises(NodeNotFound, match='/penguin, /robot/penguin'):
        Session(graph, graph).find_node()
    graph = Discovery([], [NODES[1]], NODES)
    assert Session(graph, graph).find_node('robot/penguin') == '/robot/penguin'


def test_a_node_of_which_only_clients_are_left_is_none() -> None:
    """A console that looks at a robot which is gone keeps the name of its action in the graph."""
    graph = Discovery([], [NODES[0]], left=ACTIONS)
    assert Session(graph, graph).find_node() == '/robot/penguin'
    graph = Discovery([], [NODES[2]], left=ACTIONS)
    with pytest.raises(NodeNotFound, match='none runs'):
        Session(graph, graph).find_node(timeout_s=0.3)


def test_an_action_is_found_by_its_server_whatever_node_it_has_and_not_by_a_client(
    own_context: Any,
) -> None:
    """A bridge offers the actions of a robot under names of nodes that are none here."""
    bridge = Node('bridge', context=own_context)
    client = ActionClient(bridge, AnswerQuestion, '/gone/answer_question')
    server = ActionServer(bridge, AnswerQuestion, '/far/answer_question', lambda goal: None)
    with session('looking') as looking:
        assert looking.find_node(timeout_s=WAIT_S) == '/far'
        with pytest.raises(NodeNotFound, match='running: /far'):
            looking.find_node('gone', timeout_s=0.3)
    client.destroy()
    server.destroy()
    bridge.destroy_node()
