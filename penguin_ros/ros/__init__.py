# SPDX-License-Identifier: Apache-2.0
"""The only room that imports rclpy: nodes, and what turns messages into values and back.

`node/` is the penguin node, which calls the pipeline; `camera_input/` gives it the frames of a
camera's topic. `camera_node/` and `sim_camera/` publish images, of files and devices or of the
simulated world. `client/` asks a running node. All of them use `conversions/` (messages, topics,
error codes) and `process/` (what a process of ours needs around rclpy). Callbacks run on executor
threads; the pipeline's worker thread never calls ROS, its results come by way of the executor
queue.
"""
