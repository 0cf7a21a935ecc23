# SPDX-License-Identifier: Apache-2.0
"""What is drawn over a camera's picture for those who watch: the caption and how rules are doing.

Reading order: `board` (what is known of one camera now), `lines` (what of it is said over a frame,
in words), `fonts`, `arrangement` (where each line stands in a picture of a given size), `painter`
(draws that on pixels).

Called by `ros/overlay_node`, on its drawing thread, and by `ros/recorder`; no ROS. Nothing here
waits, and what is kept is one arrangement and one drawn panel per camera.
"""
