# SPDX-License-Identifier: Apache-2.0
"""Entry point `penguin_node`: `penguin_node --ros-args -p model.checkpoint:=DIR`.

It starts and ends everything in the order that is needed, and runs the node's callbacks on the main
thread until the process is asked to stop, whatever a callback or rclpy raises. Exit code 0 after
SIGINT or SIGTERM, 2 when the node cannot be started as asked, 3 when the device of the model
computes nothing more for this process, so that whoever starts it again brings it back. A model that
cannot be loaded does not end the node.

The executor is a SingleThreadedExecutor: the multi-threaded one of rclpy before 10.0.4 can fall to
a few callbacks per second. rclpy is imported late, after the process was prepared for it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.ros.process.command_line import (
    NodeCommand,
    checked_command_line,
    ros_argument_error,
)
from penguin_ros.ros.process.leaving import leave
from penguin_ros.ros.process.stop_signal import MODEL_THREAD, StopSignal

if TYPE_CHECKING:
    from rclpy.executors import SingleThreadedExecutor

    from penguin_ros.pipeline import BackendFactory
    from penguin_ros.ros.process.callback_guard import CallbackGuard

COMMAND = NodeCommand(
    'penguin_node',
    'Watches cameras: publishes captions and answers questions, with the model that the parameter '
    'model.bundle or\nmodel.checkpoint names.',
    '-p model.checkpoint:=penguin_sim',
    'parameters.md',
)
UNUSABLE = 2
DEVICE_LOST = 3
LOSS_CHECK_S = 0.5
PAUSE_AFTER_FAULT_S = 0.01
# How long a thread may keep the interpreter: the worker calls it in many small pieces, between
# which frames must be taken.
SWITCH_INTERVAL_S = 0.0005


def main(
    arguments: Sequence[str] | None = None, backend_factory: BackendFactory | None = None
) -> int:
    """Runs the node until it is asked to stop; returns the exit code.

    As the command itself, which is given nothing, it ends the process instead. `backend_factory`
    puts another model in the place of the one that the parameters name: tests do so, see
    penguin_ros/testing.
    """
    stop = StopSignal(COMMAND.program)
    stop.install()
    try:
        line = checked_command_line(COMMAND, sys.argv if arguments is None else arguments)
    except PenguinError as error:
        return _unusable(str(error))
    stop.enter('importing its libraries')
    _prepare()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    code = _run(stop, line, backend_factory)
    sys.stdout.flush()
    sys.stderr.flush()
    is_stuck = any(thread.name == MODEL_THREAD for thread in threading.enumerate())
    if is_stuck or code == DEVICE_LOST:
        # It is in a step that cannot be interrupted, or the library's device is broken: ending the
        # interpreter would crash inside the library.
        os._exit(code)
    if arguments is None and backend_factory is None:
        leave(code)
    return code


def _prepare() -> None:
    """Prepares the process before rclpy is imported; ends it where something is missing."""
    from penguin_ros.ros.process.allocator import keep_freed_memory
    from penguin_ros.ros.process.requirements import require_libraries, require_messages

    keep_freed_memory()
    require_messages()
    require_libraries()


def _run(stop: StopSignal, arguments: list[str], backend_factory: BackendFactory | None) -> int:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from penguin_ros.ros.node.penguin_node import PenguinNode
    from penguin_ros.ros.process.log_folder import ensure_log_folder

    stop.enter('starting')
    ensure_log_folder()
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rcl's own classes, private to rclpy
        return _unusable(str(ros_argument_error(error, COMMAND)))
    try:
        node = PenguinNode(backend_factory)
    except SettingError as error:
        return _unusable(str(error))
    except Exception as error:  # bad names: rclpy has no common class for them
        return _unusable(f'{type(error).__name__}: {error}')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.create_task(node.autostart)
    spinner = Spinner(executor, node.guard)
    stop.enter('a callback')
    spinner.spin_until_stopped(stop, lambda: node.device_loss is not None)
    loss = node.device_loss
    if loss is not None:
        node.get_logger().fatal(f'the node ends, to be started again: {loss}')
    stop.enter('ending its requests')
    node.stop(spinner.spin_until)
    stop.enter('leaving ROS')
    executor.shutdown(timeout_sec=0.5)
    node.destroy_node()
    rclpy.try_shutdown()
    stop.enter('the end of its libraries')
    return 0 if loss is None else DEVICE_LOST


def _unusable(text: str) -> int:
    print(f'penguin_node cannot start: {text}', file=sys.stderr)
    return UNUSABLE


class Spinner:
    """Runs an executor's callbacks on the main thread; exceptions go to the guard."""

    def __init__(self, executor: SingleThreadedExecutor, guard: CallbackGuard) -> None:
        self._executor = executor
        self._guard = guard

    def spin_until_stopped(self, stop: StopSignal, has_lost: Callable[[], bool]) -> None:
        """Returns when the process was asked to stop, the context was shut down, or the model's
        device is lost.
        """
        stop.on_stop(self._executor.wake)
        while not stop.is_set() and not has_lost() and self._executor.context.ok():
            self._spin_once(LOSS_CHECK_S)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Returns whether the condition held within the time."""
        end = time.monotonic() + timeout_s
        while not condition() and self._executor.context.ok():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._spin_once(min(left, 0.02))
        return condition()

    def _spin_once(self, timeout_s: float | None) -> None:
        try:
            self._executor.spin_once(timeout_sec=timeout_s)
        # From rclpy itself, a client that is gone for example: callbacks have their own guard.
        except Exception as error:
            self._guard.report('the executor', error)
            time.sleep(PAUSE_AFTER_FAULT_S)


if __name__ == '__main__':
    sys.exit(main())
