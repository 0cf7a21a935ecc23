# SPDX-License-Identifier: Apache-2.0
"""Talks to a running penguin node from the command line and from tools.

Reading order: `session` makes a short-lived node and finds the penguin node, `question_client` asks
one question through its action, `rule_client` sets and tests rules and prints events,
`memory_client` asks a memory node, `watcher` prints captions and answers as they come,
`message_dict` turns messages into JSON values.

The verbs of `cli`, the demo, the benchmark of a live node and the tools call this room. Everything
runs on the thread that spins the session. rclpy is imported late, so that the command line can say
what is missing where there is no ROS 2.
"""
