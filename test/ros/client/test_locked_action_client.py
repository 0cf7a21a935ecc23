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
    own_context: Any, silent_node: SilentNode
) -> None:
    silent_node.may_accept.set()
    node = Node('asker', context=own_context)
    client = Watched(node, AnswerQuestion, '/penguin/answer_question')
    handle_of_client = client._client_handle
    executor = SingleThreadedExecutor(context=own_context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        assert client.wait_for_server(WAIT_S)
        client._client_handle = SlowSender(handle_of_client, client.looked)
        handle = outcome(client.send_goal_async(AnswerQuestion.Goal(question='q')))
        assert handle.accepted
        assert outcome(handle.cancel_goal_async()).goals_canceling
        silent_node.ended.set()
        assert outcome(handle.get_result_async()).result is not None
    finally:
        client._client_handle = handle_of_client
        executor.shutdown()
        thread.join(WAIT_S)
        node.destroy_node()
