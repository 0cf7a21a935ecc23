# SPDX-License-Identifier: Apache-2.0
"""A robot's cameras, in words: Penguin-VL on ROS 2.

Read `pipeline`, the front door of the core: frames and questions go in, captions and answers come
out. Below it lie, from the values up, `media`, `checkpoint`, `preprocessing`, `backends`,
`generation`, `window`, `scheduler` and `requests`; none of them knows ROS. Above it, `ros` holds
the nodes; `evaluation`, `benchmark`, `demo` and `doctor` are libraries of the command in `cli`.
`export` makes bundles ahead of time, `simulation` is a world that knows the truth, `testing` is for
tests. docs/architecture.md shows what may import what, and the way of a frame and of a question.
"""
