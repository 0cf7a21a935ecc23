# SPDX-License-Identifier: Apache-2.0
"""Turns images from anywhere into RGB arrays, without ROS.

Reading order: `convert` is the way in for messages and chooses between `raw`, `cv_bridge_image` and
`compressed`, which each decode one kind of them; `format_text`, `jpeg`, `png` and `orientation` are
what `compressed` knows of messages and files.

`recordings` opens a recording, whichever it is: `video` (with what `container` reads of its bytes
and `interlaced` finds out), `animation`, or `bag`, which reads `bag_files` (`mcap_file` and
`db3_file`, which share `bag_storage`) and places their messages in time with `bag_clock`.
`recording` is what all offer, and the account of what became of the images. `source` gives a camera
node its images from a video, a folder or a device.

The camera input, the question server, the camera node, the command line and the benchmarks call
this room; it calls nothing but the value rooms and the decoders. Nothing here has a thread of its
own: the conversions may be called from any thread, a recording or a source by one at a time.
"""
