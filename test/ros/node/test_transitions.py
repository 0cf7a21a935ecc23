# SPDX-License-Identifier: Apache-2.0
"""Transitions of a node that only stands in for one: whatever they do, clients get a response."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import TransitionCallbackReturn

from penguin_ros.ros.node.transitions import Transitions
from penguin_ros.ros.process.callback_guard import CallbackGuard

UNCONFIGURED = [(1, 'configure', 1, 'unconfigured', 10, 'configuring'), (5, 'shutdown')]
INACTIVE = [(3, 'activate', 2, 'inactive', 13, 'activating'), (2, 'cleanup')]


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str) -> None:
        self.lines.append(text)

    error = warning


class Node:
    """What Transitions uses of a lifecycle node; `transition` is what rclpy would do."""

    def __init__(self, transition: Callable[[], Any]) -> None:
        self.logger = Logger()
        self.executor = None
        self.lifecycle_state = 'unconfigured'
        self._transition = transition
        self._state_machine = SimpleNamespace(available_transitions=UNCONFIGURED)
        self._service_change_state = SimpleNamespace(callback=lambda *_: transition())

    def trigger_configure(self) -> Any:
        result = self._transition()
        self._state_machine.available_transitions = INACTIVE
        return result

    trigger_activate = trigger_configure

    def get_logger(self) -> Logger:
        return self.logger

    def get_fully_qualified_name(self) -> str:
        return '/penguin'


class Queue:
    """Keeps the calls of other threads for the test's."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def post(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


class Run:
    """Transitions of a stand-in, and what they said."""

    def __init__(self, transition: Callable[[], Any]) -> None:
        self.node = Node(transition)
        self.guard = CallbackGuard(self.node.logger)
        self.queue: Any = Queue()
        self.transitions = Transitions(self.node, self.queue, self.guard)

    def finished(self, coroutine: Any) -> Any:
        """Runs a coroutine to its end, with what threads have posted, and returns its result."""
        while True:
            assert self.transitions.join(10)
            while self.queue.calls:
                self.queue.calls.pop(0)()
            try:
                coroutine.send(None)
            except StopIteration as end:
                return end.value

    def change(self, number: int = 0, label: str = '') -> bool:
        """Asks for a transition by its number or label; returns the success in the response."""
        request = ChangeState.Request()
        request.transition.id, request.transition.label = number, label
        response = self.finished(
            self.node._service_change_state.callback(request, ChangeState.Response())
        )
        return bool(response.success)


def broken() -> Any:
    raise KeyError('broken on purpose')


def succeeds() -> Any:
    return ChangeState.Response(success=True)


@pytest.mark.parametrize('asked', [{'number': 1}, {'label': 'configure'}, {'label': 'shutdown'}])
def test_a_transition_that_the_state_allows_is_made(asked: dict[str, Any]) -> None:
    run = Run(succeeds)
    assert run.change(**asked) and not run.node.logger.lines


@pytest.mark.parametrize(
    'asked', [{'number': 3}, {'number': 2}, {'label': 'activate'}, {'label': 'nonsense'}]
)
def test_a_transition_that_the_state_does_not_allow_is_refused_before_rclpy_is_asked(
    asked: dict[str, Any],
) -> None:
    """rclpy of Kilted and later raises nothing then, and says in its own words why."""
    run = Run(broken)
    assert not run.change(**asked)
    (line,) = run.node.logger.lines
    assert 'is not possible while the node is unconfigured' in line and not run.guard.faults
    assert 'possible: configure, shutdown' in line


@pytest.mark.parametrize('number', [1, 5])
def test_a_client_gets_a_response_when_the_transition_raises(number: int) -> None:
    """On a thread of its own (1) or within the callback (5)."""
    run = Run(broken)
    assert not run.change(number)
    assert sum(run.guard.faults.values()) == 1
    run.node._transition = succeeds
    run.transitions._change_state = lambda *_: succeeds()
    assert run.change(number), 'the next one is not refused as one beside another'


def test_a_transition_beside_another_one_is_refused() -> None:
    run = Run(succeeds)
    request = ChangeState.Request()
    request.transition.id = 1
    loading = run.transitions.serve(request, ChangeState.Response())
    loading.send(None)
    assert not run.change(5) and 'another transition is under way' in run.node.logger.lines[-1]
    assert run.finished(loading).success


def test_autostart_configures_and_activates() -> None:
    run = Run(lambda: TransitionCallbackReturn.SUCCESS)
    run.finished(run.transitions.autostart())
    assert not run.node.logger.lines


def test_an_autostart_that_raises_leaves_a_node_that_says_what_to_type() -> None:
    run = Run(broken)
    run.finished(run.transitions.autostart())
    assert run.guard.faults == {'KeyError in transition configure': 1}
    assert 'ros2 lifecycle set /penguin configure' in run.node.logger.lines[-1]


def test_an_autostart_after_somebody_else_has_configured_the_node_is_refused() -> None:
    run = Run(broken)
    run.node._state_machine.available_transitions = INACTIVE
    run.finished(run.transitions.autostart())
    assert 'configure is not possible while' in run.node.logger.lines[0] and not run.guard.faults
