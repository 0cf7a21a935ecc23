# SPDX-License-Identifier: Apache-2.0
"""Which frames a request about the present sees: the cameras of the pipeline.

Read `camera`, the only front door: the pipeline adds frames to it, requests find their clips in it
and begin and end captions. It owns a `ClipBuffer`, which keeps the last seconds, a `camera_window`,
which takes frames out of the buffer by the `policies` under the `window_rules` of the settings, and
a `caption_gate`, which tells whether anything has changed since the last caption.

Frames are added on an executor's thread; what looks at pixels runs on the worker thread.
"""
