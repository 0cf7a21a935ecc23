# SPDX-License-Identifier: Apache-2.0
"""Entry point `sim_camera`: the simulated camera as a process, run as `camera_node` is.

Exit codes: 0 when it was asked to stop or the last scene has ended, 2 when there is nothing to run
with (ROS, parameters, MuJoCo, a scene), 1 for a defect.
"""

from __future__ import annotations

from typing import Any

from penguin_ros.ros.camera_node.main import OnEnd, run_camera
from penguin_ros.ros.process.command_line import NodeCommand

COMMAND = NodeCommand(
    'sim_camera',
    'Shows a simulated world as a camera does, with its clock and what is true about it.',
    '-p seed:=7 -p level:=2',
    'simulation.md',
)


def main() -> None:
    """Runs `ros2 run penguin_ros sim_camera` and the command of the same name."""
    run_camera(COMMAND, _sim_camera)


def _sim_camera(on_end: OnEnd) -> Any:
    from penguin_ros.ros.sim_camera.sim_camera import SimCamera

    return SimCamera(on_end)


if __name__ == '__main__':
    main()
