# SPDX-License-Identifier: Apache-2.0
"""The node `sim_camera`: a camera in a simulated world, with the world's clock and what is true
about it.

Reading order: `main` starts the process by way of `camera_node`, `sim_camera` is the node, `scenes`
chooses what is shown and describes it, `clock` is the world's time, `parameters` declares what can
be set.

The camera's own thread draws and publishes images; the executor's thread publishes /clock and
serves the reset, so that time goes on however slow drawing is. This room calls `camera_node` for
messages and the process, and `simulation` for worlds, scenes and truth.
"""
