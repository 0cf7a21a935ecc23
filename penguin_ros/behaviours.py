# SPDX-License-Identifier: Apache-2.0
"""Behaviours for trees of py_trees: `Ask`, `Describe` and `WaitForEvent`.

    from penguin_ros.behaviours import Ask

    tree = py_trees.trees.BehaviourTree(Ask('door', 'Is the door open?', choices=['yes', 'no']))
    tree.setup(node=node)

They take the node of the tree from `setup`, as those of py_trees_ros do; somebody has to spin it.
"""

from __future__ import annotations

from penguin_ros.ros.behaviours.ask import Ask as Ask
from penguin_ros.ros.behaviours.ask import Describe as Describe
from penguin_ros.ros.behaviours.wait_for_event import WaitForEvent as WaitForEvent
