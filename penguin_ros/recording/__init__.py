# SPDX-License-Identifier: Apache-2.0
"""Recordings in MCAP files, as rosbag2 writes them, with the captions on the pictures.

Reading order: `definitions` (what messages are made of, from an installed ROS or from here),
`writer` (a thread that writes what it is given), `frame_header` (stamp and size of a serialised
image), `frame_notes` (annotations of each frame, once the caption about it is there).

Called by `ros/record_node`; no ROS. `put` and what it is given come from the executor's thread, one
thread of the writer's own writes.
"""
