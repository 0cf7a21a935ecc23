# SPDX-License-Identifier: Apache-2.0
"""Behaviours for trees of py_trees, over a node of the tree's own program.

`ask` asks a penguin node a question through its action, or has it describe what it sees;
`wait_for_event` waits until a rule of it fires. Programs import them from `penguin_ros.behaviours`.

Everything runs on the thread that ticks and spins. A tick never waits: it looks at futures that the
node's executor completes between ticks.
"""
