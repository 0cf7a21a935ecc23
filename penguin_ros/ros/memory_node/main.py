# SPDX-License-Identifier: Apache-2.0
"""Entry point `memory_node`: `memory_node --ros-args -p folder:=DIR -p nodes:=[penguin]`.

It runs until the process is asked to stop, and stores what was heard by then. Exit code 0 after
SIGINT or SIGTERM, 2 when it cannot be started as asked: parameters, or a store that another process
writes to or that cannot be read.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.command_line import (
    NodeCommand,
    checked_command_line,
    ros_argument_error,
)
from penguin_ros.ros.process.leaving import leave
from penguin_ros.ros.process.stop_signal import StopSignal

if TYPE_CHECKING:
    from penguin_ros.ros.memory_node.memory_node import MemoryNode

COMMAND = NodeCommand(
    'memory_node',
    'Remembers what penguin nodes say they see, and finds it again by time, words, meaning and '
    'place.',
    '-p folder:=/data/memory -p nodes:=[penguin]',
    'memory_node.md',
)
WAKE_SECONDS = 1.0
PAUSE_AFTER_FAULT_S = 0.01


def main() -> None:
    """Runs `ros2 run penguin_ros memory_node` and the command of the same name."""
    stop = StopSignal(COMMAND.program)
    stop.install()
    try:
        line = checked_command_line(COMMAND, sys.argv)
        stop.enter('importing its libraries')
        _prepare()
        stop.enter('starting')
        _run(stop, line)
    except PenguinError as error:
        print(f'{COMMAND.program} cannot start: {error}', file=sys.stderr)
        sys.exit(2)
    stop.enter('the end of its libraries')
    leave(0)


def _prepare() -> None:
    """Prepares the process before rclpy is imported; ends it where something is missing."""
    from penguin_ros.ros.process.allocator import return_freed_memory
    from penguin_ros.ros.process.requirements import require_libraries, require_messages

    return_freed_memory()
    require_messages()
    require_libraries()


def _run(stop: StopSignal, line: list[str]) -> None:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from penguin_ros.ros.memory_node.memory_node import MemoryNode
    from penguin_ros.ros.process.log_folder import ensure_log_folder

    ensure_log_folder()
    try:
        rclpy.init(args=line, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rcl's own classes, private to rclpy
        raise ros_argument_error(error, COMMAND) from error
    try:
        _serve(stop, MemoryNode())
    finally:
        rclpy.try_shutdown()


def _serve(stop: StopSignal, memory: MemoryNode) -> None:
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(memory)
    stop.on_stop(executor.wake)
    stop.enter('a callback')
    try:
        while not stop.is_set() and executor.context.ok():
            try:
                executor.spin_once(timeout_sec=WAKE_SECONDS)
            # From rclpy itself, a client that is gone for example: callbacks have their own guard.
            except Exception as error:
                memory.guard.report('the executor', error)
                time.sleep(PAUSE_AFTER_FAULT_S)
    finally:
        stop.enter('storing what was heard')
        memory.close()
        stop.enter('leaving ROS')
        executor.shutdown(timeout_sec=1.0)
        memory.destroy_node()


if __name__ == '__main__':
    main()
