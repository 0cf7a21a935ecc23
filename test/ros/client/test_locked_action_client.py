# SPDX-License-Identifier: Apache-2.0
"""A response that comes while its request is still being sent reaches whoever asked."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_msgs.action import AnswerQuestion
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from support.graph import Domain, ros_context
from support.silent_node import WAIT_S, SilentNode

from penguin_ros.ros.client.locked_action_client import LockedActionClient


class SlowSender:
    """A handle of a client whose sending returns only when the executor has come for the
    response.
    """

    def __init__(self, handle: Any, looked: threading.Event) -> None:
        self._handle = handle
        self._looked = looked

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._handle, name)
        if not (name.startswith('send_') and name.endswith('_request')):
            return found

        def send(request: Any) -> Any:
            self._looked.clear()
            number = found(request)
            assert self._looked.wait(WAIT_S), 'the executor never came'
            return number

        return send


class Watched(LockedActionClient):
    """Tells that the executor comes for a response."""

    looked = threading.Event()

    def take_data(self) -> Any:
        self.looked.set()
        return super().take_data()


def outcome(future: Any) -> Any:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(WAIT_S), 'the response was lost'
    return future.result()


def test_goal_result_and_cancel_are_answered_though_sending_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    domain = Domain()
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain.number))
    with ros_context(domain) as context:
        server = SilentNode(context)
        server.may_accept.set()
        node = Node('asker', context=context)
        client = Watched(node, AnswerQuestion, '/penguin/answer_question')
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        try:
            assert client.wait_for_server(WAIT_S)
            client._client_handle = SlowSender(client._client_handle, client.looked)
            handle = outcome(client.send_goal_async(AnswerQuestion.Goal(question='q')))
            assert handle.accepted
            assert outcome(handle.cancel_goal_async()).goals_canceling
            server.ended.set()
            assert outcome(handle.get_result_async()).result is not None
        finally:
            client._client_handle = client._client_handle._handle
            server.leave()
            executor.shutdown()
            thread.join(WAIT_S)
            node.destroy_node()
    domain.close()
