# SPDX-License-Identifier: Apache-2.0
"""The console's side of ROS: an ordinary client of penguin nodes, in a process of its own.

Reading order: `ros_robot` (what the page's server talks to; finds nodes that come and go),
`watched_node` (what is heard of one penguin node), `camera_feed` (pictures of one camera, only
while somebody looks), `calls` (questions, rules, parameters and recall, as coroutines),
`page_values` (messages as values that a page can read), `main` (the process).

Callbacks run on the executor's thread; what they have for the page they hand to the thread of the
asyncio loop, on which everything else runs.
"""
