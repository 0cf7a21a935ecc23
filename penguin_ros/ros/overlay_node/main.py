# SPDX-License-Identifier: Apache-2.0
"""Entry point `overlay_node`: `overlay_node --ros-args -p node:=penguin`.

Exit code 0 after SIGINT or SIGTERM, 2 when it cannot be started as asked.
"""

from __future__ import annotations

from typing import Any

from penguin_ros.ros.process.command_line import NodeCommand
from penguin_ros.ros.process.plain_node import PlainNode, run_plain_node

COMMAND = NodeCommand(
    'overlay_node',
    "Draws captions and rule states over the pictures of a penguin node's cameras, while somebody "
    'looks.',
    '-p node:=/robot/penguin',
    'overlays.md',
)


def main() -> None:
    """Runs `ros2 run penguin_ros overlay_node` and the command of the same name."""
    run_plain_node(PlainNode(COMMAND, _overlay_node, 'a picture'))


def _overlay_node() -> Any:
    from penguin_ros.ros.overlay_node.overlay_node import OverlayNode

    return OverlayNode()


if __name__ == '__main__':
    main()
