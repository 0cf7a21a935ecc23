# SPDX-License-Identifier: Apache-2.0
"""A short-lived node for the command line: it finds a running penguin node, spins, and goes away
quietly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from penguin_ros.errors import PenguinError

ACTION_TYPE = 'penguin_msgs/action/AnswerQuestion'
ACTION_NAME = 'answer_question'
SETTLE_S = 0.5
"""So long nothing new is found before the only node is taken for the only one."""

Made = TypeVar('Made')


class NodeNotFound(PenguinError):
    """No penguin node answers, or there are several and none was named."""


class Session:
    """A client node and its executor, used by one thread."""

    def __init__(self, node: Any, executor: Any) -> None:
        self.node = node
        self.executor = executor

    def do(self, call: Callable[[], Made]) -> Made:
        """Makes, uses or destroys a part of the node; here, on the thread that spins."""
        return call()

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Runs callbacks until the condition holds; False after `timeout_s` of the steady clock."""
        end = time.monotonic() + timeout_s
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.executor.spin_once(timeout_sec=min(0.1, left))
        return True

    def find_node(self, name: str = '', timeout_s: float = 5.0) -> str:
        """Returns the full name of the penguin node called `name`, or of the only one there is.

        NodeNotFound when there is no such node within `timeout_s`, or several and none was named.
        """
        wanted = _absolute(name) if name else ''
        found = self.discover(self.answering_nodes, wanted, timeout_s)
        if not found or wanted not in ('', *found):
            listed = f'running: {", ".join(found)}' if found else 'none runs on this ROS_DOMAIN_ID'
            raise NodeNotFound(
                f'no penguin node {name}'.rstrip(),
                listed,
                'Start one with: penguin_node --ros-args -p model.checkpoint:=DIR',
            )
        if wanted:
            return wanted
        if len(found) > 1:
            raise NodeNotFound(
                'several penguin nodes run', ', '.join(found), 'Choose one with --node NAME'
            )
        return found[0]

    def discover(self, search: Callable[[], list[str]], wanted: str, timeout_s: float) -> list[str]:
        """Returns what is found within `timeout_s`: at once when `wanted` is among it; where that
        is '', what has not changed for SETTLE_S, since one of several is always found first.
        """
        found: list[str] = []
        since_s = time.monotonic()

        def is_found() -> bool:
            nonlocal since_s
            before = tuple(found)
            found[:] = search()
            if tuple(found) != before:
                since_s = time.monotonic()
            if wanted:
                return wanted in found
            return bool(found) and time.monotonic() - since_s >= SETTLE_S

        self.spin_until(is_found, timeout_s)
        return found

    def answering_nodes(self) -> list[str]:
        """Returns the nodes that offer our action; more may appear while discovery goes on. The
        name of an action whose clients alone are there is in the graph too; who serves one
        publishes its status.
        """
        names = {name for name, types in self._actions() if ACTION_TYPE in types}
        return sorted(
            name.rpartition('/')[0]
            for name in names
            if name.rpartition('/')[2] == ACTION_NAME
            and self.node.count_publishers(f'{name}/_action/status')
        )

    def node_names(self) -> set[str]:
        """Returns the full names of all nodes that are known by now."""
        pairs = self.node.get_node_names_and_namespaces()
        return {f'{namespace.rstrip("/")}/{name}' for name, namespace in pairs}

    def _actions(self) -> list[tuple[str, list[str]]]:
        """Returns the names and types of all actions.

        The node's own method came with Lyrical, where the function is deprecated.
        """
        if hasattr(self.node, 'get_action_names_and_types'):
            return list(self.node.get_action_names_and_types())
        from rclpy.action import get_action_names_and_types

        return list(get_action_names_and_types(self.node))


@contextmanager
def session(name: str) -> Iterator[Session]:
    """Yields a session whose node is called `name`, with the process number behind it.

    Ctrl-C still raises KeyboardInterrupt, so that goals can be cancelled.
    """
    context, node, executor = join_graph(name)
    try:
        yield Session(node, executor)
    finally:
        leave_graph(context, node, executor)


def join_graph(name: str) -> tuple[Any, Any, Any]:
    """Returns a context of its own, a node called `name` with the process number behind it, and the
    executor that spins it; whatever else this process has of ROS stays as it is.
    """
    import os

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from penguin_ros.ros.process.log_folder import ensure_log_folder

    ensure_log_folder()
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f'{name}_{os.getpid()}', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    return context, node, executor


def leave_graph(context: Any, node: Any, executor: Any) -> None:
    """Ends what `join_graph` began."""
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    context.try_shutdown()


def _absolute(name: str) -> str:
    return name if name.startswith('/') else '/' + name
