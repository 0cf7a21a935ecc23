# SPDX-License-Identifier: Apache-2.0
"""Talks to a running penguin node from the command line and from tools.

Reading order: `session` makes a short-lived node and finds the penguin node, `question_client` asks
one question through its action, `rule_client` sets and tests rules and prints events,
`memory_client` asks a memory node, `watcher` prints captions and answers as they come,
`message_dict` turns messages into JSON values.

`penguin` is the client of Python programs (`penguin_ros.client`): `spinning_session` spins on a
thread of its own, `ask_options` is what may be said with a question, `streams` what comes bit by
bit, `node_rules` and `robot_memory` its parts, `results` what it returns, `async_penguin` all of it
as coroutines.

The verbs of `cli`, the demo, the benchmark of a live node and the tools call this room. What
touches a node runs on the thread that spins its session; others hand it over by `Session.do`. rclpy
is imported late, so that the command line can say what is missing where there is no ROS 2.
"""
