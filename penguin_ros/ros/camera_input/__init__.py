# SPDX-License-Identifier: Apache-2.0
"""Takes the frames of one configured camera from ROS, and can say why none comes.

Reading order: `camera_input` subscribes (`subscription_qos`), converts messages and hands frames
on; `sampling_gate` leaves frames in the middleware until one is wanted; `discovery` looks who
publishes and chooses between the raw and the compressed topic; `stats` records what became of each
message, `pixel_watch` what the pixels tell; `health` judges those facts (`observation`), and
`silence` says why nothing comes.

The penguin node, the doctor and a benchmark start a CameraInput per camera; it calls the sinks that
it was given. Everything runs on the executor's thread.
"""
