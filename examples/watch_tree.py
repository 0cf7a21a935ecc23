#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A behaviour tree that asks, branches on a typed answer and waits for an event.

It asks whether the door is open. If so it has the robot describe what it sees, else it waits until
the rule `door` says that the door opens. The rule is set by:

    penguin rules add door "Is the door open?"

Run it beside a penguin node: python3 examples/watch_tree.py [NODE]
"""

from __future__ import annotations

import sys

import py_trees
import rclpy
from py_trees.composites import Selector, Sequence

from penguin_ros.behaviours import Ask, Describe, WaitForEvent

TICK_S = 0.1


def make_tree(penguin: str) -> py_trees.trees.BehaviourTree:
    """Returns the tree; `penguin` is the full name of the node that is asked."""
    is_open = Ask(
        'is the door open?',
        'Is the door open?',
        choices=['yes', 'no'],
        expected='yes',
        min_probability=0.7,
        key='door',
        penguin=penguin,
    )
    look = Sequence('look', memory=True, children=[is_open, Describe('describe', penguin=penguin)])
    opens = WaitForEvent('it opens', 'door', timeout_s=60.0, penguin=penguin)
    return py_trees.trees.BehaviourTree(Selector('watch', memory=True, children=[look, opens]))


def main() -> int:
    """Ticks the tree until it is through; returns 0 when it succeeded."""
    rclpy.init()
    node = rclpy.create_node('watch_tree')
    tree = make_tree(sys.argv[1] if len(sys.argv) > 1 else '/penguin')
    tree.setup(node=node)
    node.create_timer(TICK_S, tree.tick)  # never blocks: answers come between ticks
    running = (py_trees.common.Status.INVALID, py_trees.common.Status.RUNNING)
    while tree.root.status in running:
        rclpy.spin_once(node, timeout_sec=TICK_S)
    print(py_trees.display.unicode_tree(tree.root, show_status=True))
    board = py_trees.blackboard.Blackboard.storage
    for key in ('/door', '/description', '/event'):
        print(key, board.get(key))
    tree.shutdown()
    rclpy.try_shutdown()
    return 0 if tree.root.status == py_trees.common.Status.SUCCESS else 1


if __name__ == '__main__':
    sys.exit(main())
