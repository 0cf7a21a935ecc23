# SPDX-License-Identifier: Apache-2.0
"""Entry point `camera_node`: prepares the process, runs the node, ends quietly. The simulated
camera starts here too.

Exit codes: 0 asked to stop, or the source has ended; 2 nothing to run with (ROS, parameters,
source); 1 a defect.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.stop_signal import StopSignal

WAKE_SECONDS = 1.0


def main() -> None:
    """For `ros2 run penguin_ros camera_node` and the command of the same name."""
    run_camera('camera_node', 'CameraNode')


def run_camera(module: str, node_class: str) -> None:
    """Runs a node of this room that publishes pictures; it has `start` and `stop`, and is made with
    a callback for its end.
    """
    stop = StopSignal()
    stop.install()
    from penguin_ros.ros.process.allocator import keep_freed_memory
    from penguin_ros.ros.process.image_profile import shared_memory_shortage, use_image_profile
    from penguin_ros.ros.process.requirements import require_ros

    keep_freed_memory()
    shortage = shared_memory_shortage() if use_image_profile() else ''
    require_ros()
    try:
        _run(stop, shortage, module, node_class)
    except PenguinError as error:
        print(f'{module}: {error}', file=sys.stderr)
        sys.exit(2)


def _run(stop: StopSignal, shortage: str, module: str, node_class: str) -> None:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    try:
        rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rcl's own classes, private to rclpy
        raise PenguinError(
            'the command line cannot be used',
            str(error).strip(),
            'Parameters go after --ros-args, each as -p name:=value',
        ) from error
    try:
        _serve(
            stop,
            shortage,
            getattr(importlib.import_module(f'penguin_ros.ros.{module}.{module}'), node_class),
        )
    finally:
        rclpy.try_shutdown()


def _serve(stop: StopSignal, shortage: str, make_node: Any) -> None:
    """Publishes until the source ends or the process is asked to stop; raises what ended the
    source.
    """
    from rclpy.executors import SingleThreadedExecutor

    executor, ends = SingleThreadedExecutor(), []

    def end(error: BaseException | None) -> None:
        ends.append(error)
        executor.wake()

    node: Any = make_node(end)
    try:
        if shortage:
            node.get_logger().warning(shortage)
        stop.on_stop(executor.wake)
        executor.add_node(node)
        node.start()
        while not ends and not stop.is_set():
            executor.spin_once(timeout_sec=WAKE_SECONDS)
    finally:
        node.stop()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
    if ends and ends[0] is not None:
        raise ends[0]


if __name__ == '__main__':
    main()
