# SPDX-License-Identifier: Apache-2.0
"""Runs a node that lives from its making to `close`, as a process that ends when it is asked to.

Exit code 0 after SIGINT or SIGTERM, 2 when the node cannot be started as asked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.command_line import (
    NodeCommand,
    checked_command_line,
    ros_argument_error,
)
from penguin_ros.ros.process.leaving import leave
from penguin_ros.ros.process.stop_signal import StopSignal

WAKE_SECONDS = 1.0
PAUSE_AFTER_FAULT_S = 0.01


@dataclass(frozen=True)
class PlainNode:
    """`make` imports and makes the node, which has a CallbackGuard `guard` and `close()`; it is
    called after the process was prepared, since rclpy must not be imported before. `at_the_end`
    says what `close` does, in words that follow on `busy with`. `is_lean` gives freed memory back,
    for nodes that stay for weeks and seldom take a picture; the others keep it.
    """

    command: NodeCommand
    make: Callable[[], Any]
    at_the_end: str
    is_lean: bool = False


def run_plain_node(plain: PlainNode) -> None:
    """Runs the node until the process is asked to stop, then ends the process."""
    command = plain.command
    stop = StopSignal(command.program)
    stop.install()
    try:
        line = checked_command_line(command, sys.argv)
        stop.enter('importing its libraries')
        shortage = _prepared(plain.is_lean)
        stop.enter('starting')
        _run(stop, line, plain, shortage)
    except PenguinError as error:
        print(f'{command.program} cannot start: {error}', file=sys.stderr)
        sys.exit(2)
    stop.enter('the end of its libraries')
    leave(0)


def _prepared(is_lean: bool) -> str:
    """Prepares the process before rclpy is imported; ends it where something is missing. Returns a
    sentence when it takes pictures and lacks shared memory.
    """
    from penguin_ros.ros.process.allocator import keep_freed_memory, return_freed_memory
    from penguin_ros.ros.process.image_profile import shared_memory_shortage, use_image_profile
    from penguin_ros.ros.process.requirements import require_libraries, require_messages

    shortage = ''
    if is_lean:
        return_freed_memory()
    else:
        keep_freed_memory()
        shortage = shared_memory_shortage() if use_image_profile() else ''
    require_messages()
    require_libraries()
    return shortage


def _run(stop: StopSignal, line: list[str], plain: PlainNode, shortage: str) -> None:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from penguin_ros.ros.process.log_folder import ensure_log_folder

    ensure_log_folder()
    try:
        rclpy.init(args=line, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rcl's own classes, private to rclpy
        raise ros_argument_error(error, plain.command) from error
    try:
        served = plain.make()
        if shortage:
            served.get_logger().warning(shortage)
        _serve(stop, served, plain.at_the_end)
    finally:
        rclpy.try_shutdown()


def _serve(stop: StopSignal, served: Any, at_the_end: str) -> None:
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(served)
    stop.on_stop(executor.wake)
    stop.enter('a callback')
    try:
        while not stop.is_set() and executor.context.ok():
            try:
                executor.spin_once(timeout_sec=WAKE_SECONDS)
            # From rclpy itself, a client that is gone for example: callbacks have their own guard.
            except Exception as error:
                served.guard.report('the executor', error)
                time.sleep(PAUSE_AFTER_FAULT_S)
    finally:
        stop.enter(at_the_end)
        served.close()
        stop.enter('leaving ROS')
        executor.shutdown(timeout_sec=1.0)
        served.destroy_node()
