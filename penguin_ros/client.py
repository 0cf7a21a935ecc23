# SPDX-License-Identifier: Apache-2.0
"""A running penguin node from Python, without knowledge of ROS: `Penguin`, and `AsyncPenguin` for
asyncio. What they return are values, what they raise are classes of penguin_ros.errors.

    from penguin_ros.client import Penguin

    with Penguin() as robot:
        print(robot.ask('What is in front of you?').text)

ROS 2 and penguin_msgs are needed when a Penguin is made, not to import this.
"""

from __future__ import annotations

from penguin_ros.ros.client.async_penguin import AsyncPenguin as AsyncPenguin
from penguin_ros.ros.client.penguin import Conversation as Conversation
from penguin_ros.ros.client.penguin import Penguin as Penguin
from penguin_ros.ros.client.results import Answer as Answer
from penguin_ros.ros.client.results import Caption as Caption
from penguin_ros.ros.client.results import Evaluation as Evaluation
from penguin_ros.ros.client.results import Event as Event
from penguin_ros.ros.client.results import Evidence as Evidence
from penguin_ros.ros.client.results import Memory as Memory
from penguin_ros.ros.client.results import Place as Place
from penguin_ros.ros.client.results import RuleState as RuleState
from penguin_ros.ros.client.results import SeenFrame as SeenFrame
from penguin_ros.ros.client.results import WatchedRule as WatchedRule
from penguin_ros.ros.client.robot_memory import LastSeen as LastSeen
from penguin_ros.ros.client.session import NodeNotFound as NodeNotFound
