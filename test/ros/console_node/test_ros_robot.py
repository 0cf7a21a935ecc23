# SPDX-License-Identifier: Apache-2.0
"""The robot as the console knows it, against a node of this process that says what a test wants."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import CameraStatus, Event, Status
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from support.graph import Domain, image_message, ros_context

from penguin_ros.ros.console_node.ros_robot import RosRobot
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.robot import Look, Picture, Refused

WAIT_S = 60.0
STAMP_NS = 5 * 10**9


class StandIn:
    """A node with the topics and the action of a penguin node, which never answers."""

    def __init__(self, context: Any) -> None:
        self.may_accept = threading.Event()
        self.accepted, self.cancelled = threading.Event(), threading.Event()
        self.ended = threading.Event()
        self.node = Node('penguin', context=context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.node.create_publisher(Status, '~/status', latched)
        self.event = self.node.create_publisher(Event, '~/event', 10)
        self._action = ActionServer(
            self.node,
            AnswerQuestion,
            '~/answer_question',
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=ReentrantCallbackGroup(),
        )
        self._executor = MultiThreadedExecutor(4, context=context)
        self._executor.add_node(self.node)
        threading.Thread(target=self._executor.spin, daemon=True).start()

    def _on_goal(self, goal: Any) -> Any:
        self.may_accept.wait(WAIT_S)
        return GoalResponse.ACCEPT

    def _on_cancel(self, goal: Any) -> Any:
        self.cancelled.set()
        return CancelResponse.ACCEPT

    def _execute(self, goal: Any) -> Any:
        self.accepted.set()
        self.ended.wait(WAIT_S)
        goal.abort()
        return AnswerQuestion.Result()

    def say(self, camera: str, topic: str) -> None:
        """Publishes a status that names the topic of a camera."""
        self._status.publish(Status(cameras=[CameraStatus(name=camera, topic=topic)]))

    def leave(self) -> None:
        """Leaves the graph; harmless when it has."""
        if self.ended.is_set():
            return
        self.ended.set()
        self.may_accept.set()
        self._executor.shutdown(timeout_sec=5.0)
        self._action.destroy()
        self.node.destroy_node()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    domain = Domain()
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain.number))
    with ros_context(domain) as context:
        made = StandIn(context)
        yield made
        made.leave()
    domain.close()


def used(use: Callable[[RosRobot], Awaitable[None]]) -> None:
    """Runs `use` with a robot of the console."""

    async def run() -> None:
        robot = RosRobot(Hub(time.time), asyncio.get_running_loop())
        robot.open()
        try:
            await asyncio.wait_for(use(robot), WAIT_S)
        finally:
            robot.close()

    asyncio.run(run())


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


async def asked(robot: RosRobot) -> asyncio.Task[Any]:
    """Asks the node as soon as it is there."""

    async def ask() -> Any:
        while True:
            try:
                return await robot.do('ask', {'node': '/penguin', 'question': 'q'}, print)
            except Refused as error:
                if 'no penguin node' not in str(error):
                    raise
                await asyncio.sleep(0.05)

    return asyncio.create_task(ask())


def test_a_question_ends_when_its_node_goes(stand_in: StandIn) -> None:
    async def use(robot: RosRobot) -> None:
        stand_in.may_accept.set()
        task = await asked(robot)
        await until(stand_in.accepted.is_set)
        await asyncio.get_running_loop().run_in_executor(None, stand_in.leave)
        with pytest.raises(Refused, match='/penguin went away'):
            await task

    used(use)


def test_a_question_that_is_cancelled_before_it_is_taken_is_given_up_when_it_is(
    stand_in: StandIn,
) -> None:
    async def use(robot: RosRobot) -> None:
        task = await asked(robot)
        await until(lambda: robot._nodes and robot._nodes['/penguin'].action.server_is_ready())
        await asyncio.sleep(0.2)  # the goal is on its way; the node does not take it yet
        task.cancel()
        await asyncio.wait([task])
        stand_in.may_accept.set()
        await until(stand_in.accepted.is_set)
        await until(stand_in.cancelled.is_set)

    used(use)


def test_a_camera_that_moves_to_another_topic_is_followed(stand_in: StandIn) -> None:
    async def use(robot: RosRobot) -> None:
        shown: list[Picture] = []
        stand_in.say('front', '/before')
        await until(lambda: robot._nodes and 'front' in robot._nodes['/penguin'].feeds)
        robot.look(Look('/penguin', 'front', 320, 30.0), shown.append)
        stand_in.say('front', '/after')
        publisher = stand_in.node.create_publisher(Image, '/after', 1)
        while not shown:
            publisher.publish(image_message(1, STAMP_NS))
            await asyncio.sleep(0.05)

    used(use)


def test_a_frame_is_not_taken_for_the_key_frame_of_another_camera_with_its_stamp(
    stand_in: StandIn,
) -> None:
    event = Event(camera='front', picture=[CompressedImage(format='jpeg', data=b'of front')])
    event.picture[0].header.stamp.sec = 5

    async def use(robot: RosRobot) -> None:
        stand_in.say('rear', '/rear')
        await until(lambda: robot._nodes and 'rear' in robot._nodes['/penguin'].feeds)
        while True:
            stand_in.event.publish(event)
            await asyncio.sleep(0.05)
            try:
                assert await robot.frame('/penguin', 'front', STAMP_NS) == b'of front'
                break
            except Refused:
                continue
        with pytest.raises(Refused):
            await robot.frame('/penguin', 'rear', STAMP_NS)

    used(use)
