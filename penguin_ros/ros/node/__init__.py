# SPDX-License-Identifier: Apache-2.0
"""The penguin node: the core's pipeline as a ROS 2 lifecycle node.

Reading order: `main` starts and ends the process; `penguin_node` is the node, whose lifecycle opens
and closes the pipeline; `transitions` runs slow transitions on a thread of their own; `parameters`
turns parameters into settings. What goes in and out: `captions` publishes captions,
`question_endpoints` takes questions by topic, service and action, `question_server` hands them to
the pipeline. `rule_endpoints` are the services for rules, `rule_server` has rules evaluated and
publishes events by `rule_publisher`, `rule_keeper` writes their files. What it says about itself:
`snapshot` holds the state as values and the Status message, `diagnostics` publishes both with
`rule_diagnostics`, `surroundings` watches the clock and other nodes.

The node calls the pipeline and a CameraInput per camera. Everything runs on the executor's thread
except slow transitions and the writing of files; texts and answers come from the pipeline's worker
by way of the executor queue.
"""
