# SPDX-License-Identifier: Apache-2.0
"""The demo: a camera and the penguin node as processes, watched over ROS for a while.

Read `show` (one demo from start to end), `nodes` (settings, model and processes), `watch` (captions
and one answer), `world` (the same in a simulated world, compared with the truth), `rules` (what
rules tell there) and `console` (all of it in the browser), then `row` and `sheet` (how a caption
looks on a terminal and in the image that is left). The verb `cli/demo` calls `show` and `console`;
`tools/gazebo_score.py` uses `nodes`, `row` and `sheet`. Everything runs on the thread that spins
the session; the nodes are other processes. `included_model` and `world_launch` are what the launch
files of simulated worlds share.
"""
