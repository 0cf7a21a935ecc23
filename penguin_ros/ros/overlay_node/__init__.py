# SPDX-License-Identifier: Apache-2.0
"""The overlay node: draws what a penguin node says over its cameras' pictures, for RViz, Foxglove
and rqt, in a process of its own.

Reading order: `overlay_node` (hears captions and rule states, finds the cameras), `camera_overlay`
(one camera: what is published, and only while somebody subscribes), `drawing` (the thread that
draws), `foreign_messages` (messages of packages that may be missing, imported late), `parameters`,
`diagnostics`, `main`.

Callbacks run on the executor's thread and hand frames on; one thread draws, encodes and publishes.
"""
