# SPDX-License-Identifier: Apache-2.0
"""Entry point `sim_camera`: the simulated camera as a process. Knows only what to run; see
camera_node_main.py for the rest.

Exit codes: 0 asked to stop, or the last scene has ended; 2 nothing to run with (ROS, parameters,
MuJoCo, a scene); 1 a defect.
"""

from __future__ import annotations

from penguin_ros.ros.camera_node.main import run_camera


def main() -> None:
    """For `ros2 run penguin_ros sim_camera` and the command of the same name."""
    run_camera('sim_camera', 'SimCamera')


if __name__ == '__main__':
    main()
