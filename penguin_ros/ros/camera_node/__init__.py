# SPDX-License-Identifier: Apache-2.0
"""The node `camera_node`: publishes a video, a folder of images or a capture device as a camera.

Reading order: `main` prepares the process and runs a camera node until its end, `camera_node` paces
the images of a source, `image_publisher` makes messages of them, `parameters` declares what can be
set.

The camera's own thread reads, encodes and publishes; the executor's thread, which is the main one,
serves parameters. The simulated camera in `sim_camera` calls `main`, `image_publisher` and
`parameters`; nothing here knows of the penguin node or needs the built `penguin_msgs`.
"""
