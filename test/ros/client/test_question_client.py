# SPDX-License-Identifier: Apache-2.0
"""Questions that end before their answer, against a node that does not answer."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from support.silent_node import WAIT_S, SilentNode

from penguin_ros.client import AsyncPenguin, Penguin
from penguin_ros.errors import DeadlineExceeded


def test_an_error_of_the_program_that_is_told_the_text_is_raised_and_gives_the_question_up(
    silent_node: SilentNode,
) -> None:
    silent_node.may_accept.set()

    def on_text(text: str) -> None:
        raise ZeroDivisionError(text)

    with Penguin(timeout_s=WAIT_S, discovery_s=WAIT_S) as robot:
        with pytest.raises(ZeroDivisionError):
            robot.conversation().ask('What is there?', on_text)
        assert silent_node.cancelled.wait(WAIT_S)
        silent_node.ended.set()
        assert robot.ask('And now?').text == '', 'the client goes on'


def test_a_question_that_is_given_up_before_it_is_taken_is_cancelled_when_it_is(
    silent_node: SilentNode,
) -> None:
    with Penguin(timeout_s=WAIT_S, discovery_s=WAIT_S) as robot:
        threading.Timer(2.0, silent_node.may_accept.set).start()
        with pytest.raises(DeadlineExceeded):
            robot.ask('What is there?', timeout_s=0.5)
        assert silent_node.cancelled.wait(WAIT_S)


def test_a_client_that_is_given_up_while_it_looks_for_its_node_is_closed(
    silent_node: SilentNode,
) -> None:
    def clients() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name == 'penguin_client']

    async def give_up() -> None:
        opening = asyncio.create_task(AsyncPenguin(discovery_s=WAIT_S).__aenter__())
        while not clients():
            await asyncio.sleep(0.01)
        opening.cancel()
        await asyncio.wait([opening])

    asyncio.run(give_up())
    end = time.monotonic() + WAIT_S
    while clients():
        assert time.monotonic() < end
        time.sleep(0.05)
