# SPDX-License-Identifier: Apache-2.0
"""Runs lifecycle transitions that take long on a thread of their own, so that the executor goes on
serving meanwhile.

rclpy runs every transition inside the service's callback: loading a model there would silence
diagnostics, parameters and `get_state` for minutes. Up to Jazzy it also lets a request for a
transition that the state does not allow end the executor's spin. Everything here is called from
the executor's thread.

In the last releases of Humble, Jazzy and Kilted, what a coroutine raises after it has waited
reaches nobody, and its client gets no response: each coroutine here catches it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.task import Future

from penguin_ros.ros.node.lifecycle_advice import typed
from penguin_ros.ros.process.callback_guard import CallbackGuard
from penguin_ros.ros.process.executor_queue import ExecutorQueue

# Transitions that load or free a model; the others touch subscriptions and timers, which belong to
# the executor's thread.
SLOW = {'configure': Transition.TRANSITION_CONFIGURE, 'cleanup': Transition.TRANSITION_CLEANUP}
_LABELS = {
    **{number: label for label, number in SLOW.items()},
    Transition.TRANSITION_CREATE: 'create',
    Transition.TRANSITION_ACTIVATE: 'activate',
    Transition.TRANSITION_DEACTIVATE: 'deactivate',
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: 'shutdown',
    Transition.TRANSITION_INACTIVE_SHUTDOWN: 'shutdown',
    Transition.TRANSITION_ACTIVE_SHUTDOWN: 'shutdown',
    Transition.TRANSITION_DESTROY: 'destroy',
}


class Transitions:
    """Serves `change_state` of a lifecycle node, and runs the transitions that it starts itself."""

    def __init__(self, node: Any, executor_queue: ExecutorQueue, guard: CallbackGuard) -> None:
        self._node = node
        self._executor_queue = executor_queue
        self._guard = guard
        self._thread: threading.Thread | None = None
        self._is_busy = False
        # The service is created by rclpy with its synchronous callback, and kept in this attribute
        # by every distribution since Humble.
        service = node._service_change_state
        self._change_state: Callable[[Any, Any], Any] = service.callback
        service.callback = self.serve

    async def serve(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        """Serves `change_state`; a transition that is impossible now gets no success."""
        result = await self._run(
            request.transition.label,
            request.transition.id,
            lambda: self._change_state(request, response),
        )
        response.success = bool(result is not None and result.success)
        return response

    async def autostart(self) -> None:
        """Configures and activates the node.

        A failure is logged; the node then waits for a transition that somebody asks for.
        """
        node = self._node
        result = await self._run('configure', 0, node.trigger_configure)
        if result == TransitionCallbackReturn.SUCCESS:
            result = await self._run('activate', 0, node.trigger_activate)
        if result != TransitionCallbackReturn.SUCCESS:
            node.get_logger().error(
                'not started; the node stays, and its diagnostics tell why. When the cause is '
                'mended, start the node again, or type: '
                + typed(node.get_fully_qualified_name(), 'configure', 'activate')
            )

    def join(self, timeout_s: float) -> bool:
        """Waits for the thread of a transition; returns False when it is still running."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _is_possible(self, label: str, number: int) -> bool:
        """Returns whether the state allows the transition, which its label names, or its number.

        rclpy would tell by an exception, and since Kilted only in its log.
        """
        return any(
            label == its_label if label else number == its_number
            for its_number, its_label, *_ in self._node._state_machine.available_transitions
        )

    def _possible_labels(self) -> list[str]:
        """Returns the transitions that the state allows, as users call them."""
        available = self._node._state_machine.available_transitions
        return [_LABELS[number] for number, *_ in available if number in _LABELS]

    async def _run(self, label: str, number: int, transition: Callable[[], Any]) -> Any:
        """Returns the transition's result, None when it cannot be made or fails with an
        exception.
        """
        name = label or _label(number)
        logger = self._node.get_logger()
        if self._is_busy:
            logger.warning(f'{name} refused: another transition is under way')
            return None
        if not self._is_possible(label, number):
            possible = ', '.join(self._possible_labels()) or 'none'
            state = self._node.lifecycle_state
            logger.warning(
                f'{name} is not possible while the node is {state}; possible: {possible}'
            )
            return None
        try:
            return await self._on_thread(transition) if name in SLOW else transition()
        except Exception as error:  # of rclpy too, whose RCLError is another class in each one
            self._guard.report(f'transition {name}', error)
            return None

    async def _on_thread(self, call: Callable[[], Any]) -> Any:
        """Returns the call's result, which the transition thread computes, or raises what it
        raised.
        """
        done: Future = Future(executor=self._node.executor)

        def run() -> None:
            try:
                result = call()
            except Exception as error:
                failure = error
                self._executor_queue.post(lambda: done.set_exception(failure))
            else:
                self._executor_queue.post(lambda: done.set_result(result))

        self._is_busy = True
        try:
            self._thread = threading.Thread(target=run, name='lifecycle', daemon=True)
            self._thread.start()
            return await done
        finally:
            self._is_busy = False


def _label(transition_id: int) -> str:
    return _LABELS.get(transition_id, f'transition {transition_id}')
