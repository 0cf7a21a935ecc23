# SPDX-License-Identifier: Apache-2.0
"""What a ROS process of ours needs before, around and after its node.

Reading order: `command_line` refuses what is not for ROS, `requirements` says what is not
installed, `stop_signal` notices SIGINT and SIGTERM, `leaving` ends the process and
`shared_memory` leaves none of it behind. `allocator`, `image_profile` and `log_folder` prepare
memory, transport and logs before rclpy. `callback_guard` keeps a node alive when a callback raises,
`executor_queue` carries calls from other threads to the executor's. `node_process` is the other
side: one of our nodes as a child process. `launch_arguments` reads what users give to the launch
files, and `node_launch` is what these share; only they import it, since it needs `launch`.

The entry points and nodes of `ros/`, the demo and the benchmarks call this room. Nothing
here concerns models, and rclpy is imported only where a node exists already.
"""
