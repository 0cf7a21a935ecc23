# SPDX-License-Identifier: Apache-2.0
"""The robot as the console knows it, against a node of this process that says what a test wants."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from penguin_msgs.msg import Event
from sensor_msgs.msg import CompressedImage, Image
from support.graph import image_message
from support.silent_node import WAIT_S, SilentNode

from penguin_ros.ros.console_node import ros_robot
from penguin_ros.ros.console_node.ros_robot import RosRobot
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.robot import Look, Picture, Refused

STAMP_NS = 5 * 10**9


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


def test_a_question_ends_when_its_node_goes(silent_node: SilentNode) -> None:
    async def use(robot: RosRobot) -> None:
        silent_node.may_accept.set()
        task = await asked(robot)
        await until(silent_node.accepted.is_set)
        await asyncio.get_running_loop().run_in_executor(None, silent_node.leave)
        with pytest.raises(Refused, match='/penguin went away'):
            await task

    used(use)


def test_a_question_that_is_cancelled_before_it_is_taken_is_given_up_when_it_is(
    silent_node: SilentNode,
) -> None:
    async def use(robot: RosRobot) -> None:
        task = await asked(robot)
        await until(lambda: robot._nodes and robot._nodes['/penguin'].action.server_is_ready())
        await asyncio.sleep(0.2)  # the goal is on its way; the node does not take it yet
        task.cancel()
        await asyncio.wait([task])
        silent_node.may_accept.set()
        await until(silent_node.accepted.is_set)
        await until(silent_node.cancelled.is_set)

    used(use)


def test_a_camera_that_moves_to_another_topic_is_followed(silent_node: SilentNode) -> None:
    async def use(robot: RosRobot) -> None:
        shown: list[Picture] = []
        silent_node.say('front', '/before')
        await until(lambda: robot._nodes and 'front' in robot._nodes['/penguin'].feeds)
        robot.look(Look('/penguin', 'front', 320, 30.0), shown.append)
        silent_node.say('front', '/after')
        publisher = silent_node.node.create_publisher(Image, '/after', 1)
        while not shown:
            publisher.publish(image_message(1, STAMP_NS))
            await asyncio.sleep(0.05)

    used(use)


def test_a_frame_is_not_taken_for_the_key_frame_of_another_camera_with_its_stamp(
    silent_node: SilentNode,
) -> None:
    event = Event(camera='front', picture=[CompressedImage(format='jpeg', data=b'of front')])
    event.picture[0].header.stamp.sec = 5

    async def use(robot: RosRobot) -> None:
        silent_node.say('rear', '/rear')
        await until(lambda: robot._nodes and 'rear' in robot._nodes['/penguin'].feeds)
        while True:
            silent_node.event.publish(event)
            await asyncio.sleep(0.05)
            try:
                assert await robot.frame('/penguin', 'front', STAMP_NS) == b'of front'
                break
            except Refused:
                continue
        with pytest.raises(Refused):
            await robot.frame('/penguin', 'rear', STAMP_NS)

    used(use)


def test_a_message_that_fails_is_told_and_what_comes_after_it_is_heard(
    no_remedy: Any, silent_node: SilentNode, capfd: pytest.CaptureFixture[str]
) -> None:
    publisher = silent_node.node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    async def use(robot: RosRobot) -> None:
        await until(lambda: robot._nodes)
        await until(publisher.get_subscription_count)
        publisher.publish(DiagnosticArray(status=[DiagnosticStatus(name='arm', message='hot')]))
        await until(no_remedy.is_set)
        silent_node.say('front', '/front')
        await until(lambda: 'front' in robot._nodes['/penguin'].feeds)

    used(use)
    assert 'ZeroDivisionError' in capfd.readouterr().err


@pytest.fixture
def no_remedy(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when looking for a remedy has failed."""
    failed = threading.Event()

    def remedy(*arguments: Any) -> str:
        failed.set()
        raise ZeroDivisionError

    monkeypatch.setattr(ros_robot, 'remedy', remedy)
    return failed
