# SPDX-License-Identifier: Apache-2.0
"""Images and a question become the numpy inputs of the model, with the reference's numbers.

Read `clip_inputs`, the front door. For each clip or image it makes a `frame_plan`: which frames
the model sees, of which type (`frame_types`, which resizes by `antialias`) and how large
(`frame_sizes`). `patches` cuts the frames up at these sizes, and `prompt` renders the messages.

Requests call this room on the worker thread, in steps of one frame; it holds no state and may be
used on any thread.
"""
