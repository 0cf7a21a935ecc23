# SPDX-License-Identifier: Apache-2.0
"""What is asked of a memory and needs a model: where something was seen last, and what happened in
an interval. No ROS, no model: each is a generator that yields what it wants to know next and is
sent the answer, so that a node, a test and a score can drive it alike.

Reading order: `last_seen` finds entries that mention a thing and has them looked at again;
`summary` plans and merges; `spread` chooses pictures of an interval.
"""
