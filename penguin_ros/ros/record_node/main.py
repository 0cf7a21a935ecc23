# SPDX-License-Identifier: Apache-2.0
"""Entry point `record_node`: `record_node --ros-args -p folder:=drive -p node:=penguin`.

It records until the process is asked to stop. Exit code 0 after SIGINT or SIGTERM, 2 when it cannot
be started as asked: parameters, a folder that is there already, or the library rosbags missing.
"""

from __future__ import annotations

from typing import Any

from penguin_ros.ros.process.command_line import NodeCommand
from penguin_ros.ros.process.plain_node import PlainNode, run_plain_node

COMMAND = NodeCommand(
    'record_node',
    'Records captions, answers, events and pictures of a penguin node for Foxglove and rosbag2.',
    '-p folder:=drive -p node:=penguin',
    'recording.md',
)


def main() -> None:
    """Runs `ros2 run penguin_ros record_node` and the command of the same name."""
    run_plain_node(PlainNode(COMMAND, _record_node, 'writing what was heard'))


def _record_node() -> Any:
    from penguin_ros.ros.record_node.record_node import RecordNode

    return RecordNode()


if __name__ == '__main__':
    main()
