# SPDX-License-Identifier: Apache-2.0
"""What a memory node remembers, by the Python client and by the tools of an agent: a running memory
node with stored pictures, and a penguin node's action that the test answers.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from support.graph import Graph
from support.memory_graph import AnsweringNode, MemoryGraph
from support.remembered_film import PICTURES, film, yes_for
from support.spun_graph import WAIT_S, SpunGraph, wait_for

from penguin_ros.client import Penguin
from penguin_ros.errors import Inactive, InvalidRequest


@dataclass(frozen=True)
class Remembered:
    """A robot whose memory has four scenes at these stamps; a box is on the second alone."""

    robot: Penguin
    stamps: list[int]


@pytest.fixture(scope='module')
def remembered(graph: Graph) -> Iterator[Remembered]:
    memory = MemoryGraph(graph, graph.folder / 'store')
    memory.start({**PICTURES, 'recall.meaning': False})
    stamps = film(memory, 4)
    memory.answering(yes_for(stamps[1]))
    spun = SpunGraph(graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(graph.domain.number))
        with Penguin(timeout_s=WAIT_S) as robot:
            yield Remembered(robot, stamps)
    spun.close()
    memory.close()


@pytest.mark.slow
def test_what_was_seen_is_found_by_words_and_time(remembered: Remembered) -> None:
    robot, stamps = remembered.robot, remembered.stamps
    found = robot.recall('box', is_newest_first=True, wants_pictures=True)
    assert [each.text for each in found] == [f'scene {n} with a box' for n in (3, 2, 1, 0)]
    assert [each.end_ns for each in found] == stamps[::-1]
    assert found[0].kind == 'caption' and found[0].camera == 'front' and found[0].place is None
    assert found[0].picture is not None and found[0].picture[:2] == b'\xff\xd8'
    last = robot.recall('box', last_seconds=1.1, is_newest_first=True)
    assert [each.end_ns for each in last] == [stamps[3], stamps[2]]
    between = robot.recall(interval_ns=(stamps[0], stamps[0]), kinds=['caption'])
    assert [each.end_ns for each in between] == [stamps[0]]
    with pytest.raises(InvalidRequest):
        robot.recall('box', interval_ns=(stamps[1], stamps[0]))


@pytest.mark.slow
def test_pictures_are_looked_at_again(remembered: Remembered) -> None:
    robot, stamps = remembered.robot, remembered.stamps
    seen = robot.memory.last_seen('box')
    assert seen.memory is not None and seen.memory.end_ns == stamps[1]
    assert seen.is_confirmed and seen.probability == pytest.approx(0.9)
    assert [each.end_ns for each in seen.refuted] == [stamps[3], stamps[2]]
    answer = robot.memory.look_again('Is it there?', [seen.memory], choices=['yes', 'no'])
    assert answer.probabilities['yes'] == pytest.approx(0.9)
    assert [frame.stamp_ns for frame in answer.evidence.frames] == [stamps[1]]
    assert robot.memory.last_seen('zebra').memory is None


@pytest.mark.slow
def test_a_node_that_goes_away_ends_the_question(remembered: Remembered, graph: Graph) -> None:
    made: list[AnsweringNode] = []

    def make() -> None:
        made.append(AnsweringNode(graph, yes_for(), '/going'))
        made[0].is_silent = True

    graph.executor.create_task(make)
    wait_for(lambda: made)
    with Penguin('/going', timeout_s=WAIT_S) as robot, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(robot.ask, 'What is there?')
        wait_for(lambda: made[0].goals)
        graph.executor.create_task(made[0].close)
        with pytest.raises(Inactive, match='/going went away'):
            asked.result(WAIT_S)


@pytest.mark.slow
def test_an_agent_recalls_with_pictures_and_looks_again(remembered: Remembered) -> None:
    pytest.importorskip('mcp', reason='the SDK of the Model Context Protocol is missing')
    asyncio.run(agent_recalls(remembered.stamps))


async def agent_recalls(stamps: list[int]) -> None:
    from mcp import Client

    from penguin_ros.mcp_server.robot_link import RobotLink, RobotOptions
    from penguin_ros.mcp_server.server import make_server

    link = RobotLink(RobotOptions(timeout_s=WAIT_S))
    async with Client(make_server(link, allow_changes=False)) as agent:

        async def call(tool: str, **arguments: Any) -> Any:
            result = await agent.call_tool(tool, arguments)
            assert not result.is_error, result.content
            return result

        found = await call('recall', words='box', pictures=2)
        memories = found.structured_content['memories']
        assert {int(each['stamp_ns']) for each in memories} == set(stamps)
        pictures = [base64.b64decode(block.data) for block in found.content[1:]]
        assert len(pictures) == 2 and all(each[:2] == b'\xff\xd8' for each in pictures)
        assert memories[0]['text'] in found.content[0].text
        seen = (await call('last_seen', thing='box')).structured_content
        assert seen['is_confirmed'] and int(seen['memory']['stamp_ns']) == stamps[1]
        ids = [seen['memory']['id']]
        again = await call('look_again', question='Is it?', memories=ids, choices=['yes', 'no'])
        reply = again.structured_content
        assert reply['probabilities']['yes'] == pytest.approx(0.9)
        assert [int(each['stamp_ns']) for each in reply['evidence']['frames']] == [stamps[1]]
    await link.close()
