# SPDX-License-Identifier: Apache-2.0
"""Entry point `camera_node`; the simulated camera starts through `run_camera` too.

Exit codes: 0 when it was asked to stop or the source has ended, 2 when there is nothing to run with
(ROS, parameters, source), 1 for a defect.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.command_line import (
    NodeCommand,
    checked_command_line,
    ros_argument_error,
)
from penguin_ros.ros.process.leaving import leave
from penguin_ros.ros.process.stop_signal import StopSignal

COMMAND = NodeCommand(
    'camera_node',
    'Publishes a video, a folder of images or a capture device as a camera.',
    '-p source:=drive.mp4 -p topic:=front/image',
    'camera_node.md',
)
WAKE_SECONDS = 1.0

OnEnd = Callable[[BaseException | None], None]
MakeCamera = Callable[[OnEnd], Any]


def main() -> None:
    """Runs `ros2 run penguin_ros camera_node` and the command of the same name."""
    run_camera(COMMAND, _camera_node)


def _camera_node(on_end: OnEnd) -> Any:
    from penguin_ros.ros.camera_node.camera_node import CameraNode

    return CameraNode(on_end)


def run_camera(command: NodeCommand, make_camera: MakeCamera) -> None:
    """Runs a node that publishes images until it ends or the process is asked to stop; then ends
    the process.

    `make_camera` imports and makes the node, which has `start` and `stop`; it is given a callback
    for the node's end. It is called after the process was prepared, since rclpy must not be
    imported before.
    """
    stop = StopSignal(command.program)
    stop.install()
    try:
        line = checked_command_line(command, sys.argv)
        stop.enter('importing its libraries')
        shortage = _prepared()
        stop.enter('starting')
        _run(stop, command, line, shortage, make_camera)
    except PenguinError as error:
        print(f'{command.program}: {error}', file=sys.stderr)
        sys.exit(2)
    stop.enter('the end of its libraries')
    leave(0)


def _prepared() -> str:
    """Prepares the process before rclpy is imported; returns a sentence when it lacks shared
    memory.
    """
    from penguin_ros.ros.process.allocator import keep_freed_memory
    from penguin_ros.ros.process.image_profile import shared_memory_shortage, use_image_profile
    from penguin_ros.ros.process.requirements import require_libraries, require_ros

    keep_freed_memory()
    shortage = shared_memory_shortage() if use_image_profile() else ''
    require_ros()
    require_libraries()
    return shortage


def _run(
    stop: StopSignal,
    command: NodeCommand,
    line: list[str],
    shortage: str,
    make_camera: MakeCamera,
) -> None:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from penguin_ros.ros.process.log_folder import ensure_log_folder

    ensure_log_folder()
    try:
        rclpy.init(args=line, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rcl's own classes, private to rclpy
        raise ros_argument_error(error, command) from error
    try:
        _serve(stop, shortage, make_camera)
    finally:
        rclpy.try_shutdown()


def _serve(stop: StopSignal, shortage: str, make_camera: MakeCamera) -> None:
    """Publishes until the source ends or the process is asked to stop; raises what ended the
    source.
    """
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    ends: list[BaseException | None] = []

    def end(error: BaseException | None) -> None:
        ends.append(error)
        executor.wake()

    node = make_camera(end)
    try:
        if shortage:
            node.get_logger().warning(shortage)
        stop.on_stop(executor.wake)
        executor.add_node(node)
        node.start()
        stop.enter('a callback')
        while not ends and not stop.is_set():
            executor.spin_once(timeout_sec=WAKE_SECONDS)
    finally:
        stop.enter('an image')
        node.stop()
        stop.enter('leaving ROS')
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
    if ends and ends[0] is not None:
        raise ends[0]


if __name__ == '__main__':
    main()
