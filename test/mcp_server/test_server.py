# SPDX-License-Identifier: Apache-2.0
"""`penguin mcp` with the SDK's own client, over standard input and output and HTTP on this machine,
against a running node, over real topics.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
if find_spec('mcp') is None:
    pytest.skip('the SDK of the Model Context Protocol is missing', allow_module_level=True)

from support.graph import REPOSITORY, Graph
from support.live_rules import LiveRules
from support.spun_graph import WAIT_S, SpunGraph

from penguin_ros.cli.main import parser

if TYPE_CHECKING:
    from mcp import Client  # takes a second, which only tests that use it are to wait for

READ_ONLY = {
    'robot_status',
    'ask',
    'describe_now',
    'recall',
    'last_seen',
    'look_again',
    'list_rules',
}
CHANGES = {'add_rule', 'remove_rule', 'test_rule'}


@pytest.fixture(scope='module')
def rules(
    graph: Graph, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveRules]:
    """A node whose model says yes to what holds and no to all else, with a camera that goes on."""
    live = LiveRules(graph, tiny_checkpoint, tmp_path_factory.mktemp('rules'))
    spun = SpunGraph(graph)
    yield live
    spun.close()
    live.node.process.stop()


def environment(graph: Graph) -> dict[str, str]:
    return {**os.environ, 'ROS_DOMAIN_ID': str(graph.domain.number)}


@asynccontextmanager
async def over_stdio(graph: Graph, *options: str) -> AsyncIterator[Client]:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    started = StdioServerParameters(
        command=sys.executable,
        args=['-m', 'penguin_ros.cli.main', 'mcp', *options],
        env=environment(graph),
        cwd=REPOSITORY,
    )
    async with Client(started, read_timeout_seconds=WAIT_S) as client:
        yield client


def call(client: Client, name: str, **arguments: Any) -> Any:
    return client.call_tool(name, arguments)


@pytest.mark.slow
def test_an_agent_asks_over_stdio_and_gets_evidence(graph: Graph, rules: LiveRules) -> None:
    asyncio.run(read_only_talk(graph, set(rules.camera.stamps_ns)))


async def read_only_talk(graph: Graph, before: set[int]) -> None:
    async with over_stdio(graph) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == READ_ONLY
        assert all(tool.annotations.read_only_hint for tool in tools.values())
        assert 'evidence' in tools['ask'].output_schema['properties']
        status = (await call(client, 'robot_status')).structured_content
        assert status['node'] == '/penguin' and status['cameras'][0]['name'] == 'camera'
        await ask_and_describe(client, before)
        await be_refused(client)


async def ask_and_describe(client: Client, before: set[int]) -> None:
    told = await call(client, 'ask', question='Is it dark?', choices=['yes', 'no'])
    reply, text = told.structured_content, told.content[0].text
    assert reply['choice'] == 'no' and reply['probabilities']['no'] > 0.5
    evidence = reply['evidence']
    stamps = [int(frame['stamp_ns']) for frame in evidence['frames']]
    assert evidence['frame_count'] == len(stamps) > 0 and min(stamps) > min(before)
    assert 'no' in text and evidence['model'] in text and evidence['frames'][-1]['time'] in text
    again = await call(client, 'ask', question='Why?', conversation='new', last_seconds=0.5)
    assert again.structured_content['conversation']
    shown = await call(client, 'describe_now', picture=True)
    assert shown.structured_content['camera'] == 'camera'
    assert shown.content[1].mime_type == 'image/jpeg'
    assert base64.b64decode(shown.content[1].data)[:2] == b'\xff\xd8'


async def be_refused(client: Client) -> None:
    """Errors have names, and what is out of bounds never reaches the robot."""
    for name, arguments, told in (
        (
            'ask',
            {'question': 'What?', 'camera': 'attic'},
            "UnknownCamera: no camera is called 'att",
        ),
        ('ask', {'question': ''}, 'InvalidQuestion: '),
        ('recall', {'words': 'box'}, 'NodeNotFound: no memory node'),
        ('ask', {'question': 'x' * 5000}, 'question'),
        ('recall', {'limit': 1000}, 'limit'),
        ('ask', {'question': 'What?', 'choices': ['a'] * 65}, 'choices'),
    ):
        result = await call(client, name, **arguments)
        assert result.is_error and told in result.content[0].text
    result = await call(client, 'remove_rule', id='dog')
    assert result.is_error and 'remove_rule' in result.content[0].text


@pytest.mark.slow
def test_rules_are_changed_when_that_is_allowed(graph: Graph, rules: LiveRules) -> None:
    asyncio.run(changing_talk(graph, rules))


async def changing_talk(graph: Graph, rules: LiveRules) -> None:
    async with over_stdio(graph, '--allow-changes') as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
        assert set(tools) == READ_ONLY | CHANGES
        assert tools['remove_rule'].destructive_hint and not tools['add_rule'].read_only_hint
        rule = {'id': 'dog', 'condition': 'Is there a dog?', 'severity': 'warn'}
        assert not (await call(client, 'add_rule', **rule)).is_error
        rules.hold('dog')
        tested = (await call(client, 'test_rule', id='dog')).structured_content
        assert tested['would_begin'] and tested['evidence']['frames']
        (listed,) = (await call(client, 'list_rules')).structured_content['rules']
        assert listed['id'] == 'dog' and listed['severity'] == 1
        assert not (await call(client, 'remove_rule', id='dog')).is_error
        gone = await call(client, 'remove_rule', id='dog')
        assert gone.is_error and gone.content[0].text.startswith('UnknownRule: ')
        assert gone.structured_content['error'] == 'UnknownRule'
    rules.hold()


@pytest.fixture(scope='module')
def http(graph: Graph, rules: LiveRules) -> Iterator[str]:
    """The address of a server over HTTP, which ends quietly."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'penguin_ros.cli.main', 'mcp', '--http', '0'],
        env=environment(graph),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    yield process.stderr.readline().removeprefix('serving ').strip()
    process.terminate()
    rest = process.communicate(timeout=WAIT_S)[1]
    assert process.returncode in (0, 130) and 'Traceback' not in rest, rest


@pytest.mark.slow
def test_several_agents_ask_over_http_on_this_machine(http: str) -> None:
    from mcp import Client

    assert re.fullmatch(r'http://127\.0\.0\.1:\d+/mcp', http)

    async def talk() -> None:
        async with Client(http) as one, Client(http) as other:
            replies = await asyncio.gather(
                call(one, 'ask', question='What is there?'),
                call(other, 'ask', question='What is there?'),
            )
            assert all(reply.structured_content['text'] == 'no' for reply in replies)
            many = await asyncio.gather(*(call(one, 'robot_status') for _ in range(20)))
            told = [reply.content[0].text for reply in many if reply.is_error]
            assert len(told) < 20 and all(text.startswith('Busy: ') for text in told)

    asyncio.run(talk())


def test_the_settings_of_agents_on_the_page_start_this_server() -> None:
    page = (REPOSITORY / 'docs' / 'mcp.md').read_text()
    blocks = re.findall(r'^```json\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    settings = [json.loads(block) for block in blocks]
    started = [next(iter(each.values()))['penguin']['args'][1] for each in settings]
    started += re.findall(r'bash -c "(.+?)"$', page, re.MULTILINE)
    started += re.findall(r'^args = \["-c", "(.+?)"\]$', page, re.MULTILINE)
    assert len(started) == 4
    for line in started:
        words = line.rpartition('exec penguin ')[2].split()
        assert parser('mcp').parse_args(words).verb == 'mcp'


def test_the_page_lists_every_tool() -> None:
    page = (REPOSITORY / 'docs' / 'mcp.md').read_text()
    rows = ''.join(re.findall(r'^\| (`.+?`) \|', page, re.MULTILINE))
    assert set(re.findall(r'`(\w+)`', rows)) == READ_ONLY | CHANGES


@pytest.mark.slow
def test_pages_of_other_hosts_are_kept_out(http: str) -> None:
    import urllib.error
    import urllib.request

    def status(headers: dict[str, str], body: bytes = b'{}') -> int:
        request = urllib.request.Request(http, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    ours = {'Content-Type': 'application/json', 'Accept': 'application/json, text/event-stream'}
    assert status({**ours, 'Host': 'rebound.example'}) in (403, 421)
    assert status({**ours, 'Origin': 'http://evil.example'}) == 403
    assert status(ours, b'[' + b'1,' * (1 << 20) + b'1]') == 413
