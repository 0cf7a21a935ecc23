# SPDX-License-Identifier: Apache-2.0
"""Entry point `memory_node`: `memory_node --ros-args -p folder:=DIR -p nodes:=[penguin]`.

It runs until the process is asked to stop, and stores what was heard by then. Exit code 0 after
SIGINT or SIGTERM, 2 when it cannot be started as asked: parameters, or a store that another process
writes to or that cannot be read.
"""

from __future__ import annotations

from typing import Any

from penguin_ros.ros.process.command_line import NodeCommand
from penguin_ros.ros.process.plain_node import PlainNode, run_plain_node

COMMAND = NodeCommand(
    'memory_node',
    'Remembers what penguin nodes say they see, and finds it again by time, words, meaning and '
    'place.',
    '-p folder:=/data/memory -p nodes:=[penguin]',
    'memory_node.md',
)


def main() -> None:
    """Runs `ros2 run penguin_ros memory_node` and the command of the same name."""
    run_plain_node(PlainNode(COMMAND, _memory_node, 'storing what was heard', is_lean=True))


def _memory_node() -> Any:
    from penguin_ros.ros.memory_node.memory_node import MemoryNode

    return MemoryNode()


if __name__ == '__main__':
    main()
