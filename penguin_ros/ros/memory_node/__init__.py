# SPDX-License-Identifier: Apache-2.0
"""The node `memory_node`: remembers the captions, answers and events of penguin nodes, and answers
questions about the past.

Reading order: `main` runs the node, `memory_node` connects its parts. What is heard (`listener`,
with poses from `transforms` and pictures from `key_frames`) goes through the queue of the
`recorder` into the store of the room `memory`. What is asked comes through `recall_endpoint`,
`look_endpoints` and `summarise_endpoint`; the `penguin_client` puts questions about stored pictures
to a penguin node. `diagnostics` tells how all that goes. `parameters` says what can be set.

It is a process of its own, so that its death costs no caption. The executor's thread only takes
messages and hands them over: the recorder's thread looks poses up, encodes pictures and adds to the
store, which writes on a thread of its own; searches run on the threads of `background`.
"""
