# SPDX-License-Identifier: Apache-2.0
"""The record node: writes what a penguin node says and what its cameras show into an MCAP file,
with the captions on the pictures, in a process of its own.

Reading order: `record_node` (hears the penguin node and finds its cameras), `subscriptions` (takes
serialised messages of a topic as it is published), `parameters`, `main`.

Callbacks run on the executor's thread and hand bytes on; a thread of `recording` writes.
"""
