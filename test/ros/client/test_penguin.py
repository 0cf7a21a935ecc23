# SPDX-License-Identifier: Apache-2.0
"""The Python client against a running node, over real topics, services and actions."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

import rclpy
from support.graph import REPOSITORY, Graph
from support.live_rules import LiveRules
from support.python_pages import notebook_code, page_code, run_all
from support.spun_graph import WAIT_S, SpunGraph, wait_for
from support.watching_node import ENDLESS

from penguin_ros.client import AsyncPenguin, NodeNotFound, Penguin
from penguin_ros.errors import (
    DeadlineExceeded,
    Inactive,
    InvalidRule,
    InvalidSchema,
    RequestCancelled,
    UnknownCamera,
    UnknownRule,
)


@pytest.fixture(scope='module')
def rules(
    graph: Graph, loadable_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveRules]:
    """A node whose model says yes to what holds and no to all else, with a camera that goes on."""
    live = LiveRules(
        graph,
        loadable_checkpoint,
        tmp_path_factory.mktemp('rules'),
        caption__enabled=True,
        caption__period=0.5,
        question__max_tokens=3000,
    )
    spun = SpunGraph(graph)
    yield live
    spun.close()
    live.node.process.stop()


@pytest.fixture(scope='module')
def domain(graph: Graph) -> Iterator[int]:
    """The domain of the graph, in this process' environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(graph.domain.number))
        yield graph.domain.number


@pytest.fixture(scope='module')
def robot(rules: LiveRules, domain: int) -> Iterator[Penguin]:
    with Penguin(timeout_s=WAIT_S) as penguin:
        yield penguin


def test_an_answer_comes_with_what_it_rests_on(robot: Penguin, rules: LiveRules) -> None:
    answer = robot.ask('What is there?')
    assert robot.name == '/penguin' and answer.question == 'What is there?'
    assert answer.text and str(answer) == answer.text and answer.camera == 'camera'
    evidence = answer.evidence
    stamps = [frame.stamp_ns for frame in evidence.frames]
    assert stamps == sorted(stamps) and set(stamps) <= set(rules.camera.stamps_ns)
    assert (evidence.start_ns, evidence.end_ns) == (stamps[0], stamps[-1])
    assert evidence.generated_tokens > 0 and evidence.stop_reason == 'stop token'


def test_choices_have_probabilities_and_a_schema_gives_a_value(robot: Penguin) -> None:
    answer = robot.ask('Is it dark?', choices=['yes', 'no'])
    assert answer.choice == 'no' and answer.probabilities['no'] > answer.probabilities['yes']
    with pytest.raises(InvalidSchema):
        robot.ask('How many?', json_schema='{"type": "nonsense"}')


def test_the_last_seconds_are_asked_about(robot: Penguin) -> None:
    evidence = robot.ask('What happened?', last_seconds=0.5).evidence
    assert 0 <= evidence.end_ns - evidence.start_ns <= 600_000_000


def test_errors_have_the_names_of_the_core(robot: Penguin) -> None:
    with pytest.raises(UnknownCamera, match='nowhere'):
        robot.ask('What is there?', camera='nowhere')
    with pytest.raises(TypeError, match='colour'):
        robot.ask('What is there?', colour='red')  # type: ignore[call-arg]


def test_a_stream_yields_pieces_that_make_up_the_answer(robot: Penguin) -> None:
    with robot.stream('What is there?') as stream:
        pieces = list(stream)
    assert ''.join(pieces) == stream.answer.text == stream.text != ''


def test_pictures_are_asked_about_instead_of_a_camera(robot: Penguin, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / 'red.png'
    Image.new('RGB', (64, 48), (200, 30, 30)).save(path)
    answer = robot.ask('What colour is it?', images=[path, path.read_bytes()])
    assert answer.camera == '' and len(answer.evidence.frames) == 2


def test_a_conversation_goes_on_about_what_was_shown(robot: Penguin) -> None:
    with robot.conversation() as talk:
        first = talk.ask('What is there?')
        second = talk.ask('And behind it?')
        assert talk.id == first.conversation == second.conversation != ''
        assert second.evidence.frames == first.evidence.frames
    assert talk.id == ''


def test_captions_and_status_are_told(robot: Penguin) -> None:
    with robot.watch(seconds=WAIT_S) as captions:
        first, second = next(captions), next(captions)
    assert first.camera == 'camera' and first.stamp_ns < second.stamp_ns
    assert first.evidence.frames and captions.dropped == 0
    assert robot.newest_caption().stamp_ns >= second.stamp_ns
    assert robot.status()['cameras'][0]['name'] == 'camera'
    assert robot.describe().camera == 'camera'


def test_a_watch_ends_after_its_seconds(robot: Penguin) -> None:
    begin = time.monotonic()
    with robot.watch(seconds=0.5) as captions:
        assert all(each.camera == 'camera' for each in captions)
    assert time.monotonic() - begin >= 0.5
    assert next(captions, None) is None


def test_a_rule_is_set_tested_followed_and_removed(robot: Penguin, rules: LiveRules) -> None:
    rule = robot.rules.add('dog', 'Is there a dog?', severity='warn', wants_picture=True)
    assert rule.id == 'dog' and rule.settings['severity'] == 1 and rule.settings['period'] == 0.2
    assert robot.rules.test('dog').probability < 0.5
    with robot.rules.events(seconds=WAIT_S) as events:
        rules.hold('dog')
        event = next(events)
    assert (event.kind, event.rule, event.severity) == ('begin', 'dog', 'warn')
    assert event.picture is not None and event.picture[:2] == b'\xff\xd8'
    assert robot.rules.test(condition='Is there a dog?').reaches_begin
    (listed,) = robot.rules.list()
    assert listed.states[0].state == 'active' and listed.origin == 'service'
    rules.hold()
    robot.rules.remove('dog')
    assert robot.rules.list() == ()


def test_what_a_rule_cannot_be_is_named(robot: Penguin) -> None:
    with pytest.raises(UnknownRule):
        robot.rules.remove('cat')
    with pytest.raises(InvalidRule, match='colour'):
        robot.rules.add('dog', 'Is there a dog?', colour='red')
    with pytest.raises(InvalidRule, match='another type'):
        robot.rules.add('dog', 'Is there a dog?', threshold_begin='high')
    with pytest.raises(InvalidRule, match='loud'):
        robot.rules.add('dog', 'Is there a dog?', severity='loud')


def test_many_threads_ask_at_once(robot: Penguin) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(robot.ask('What is there?').text))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(texts) == 5 and all(texts)


def test_a_program_that_uses_rclpy_notices_nothing(rules: LiveRules, domain: int) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    with Penguin() as robot:
        assert robot.ask('What is there?').text
    assert context.ok()
    context.try_shutdown()
    with pytest.raises(Inactive, match='closed'):
        robot.ask('What is there?')


def test_no_time_to_wait_is_an_error(robot: Penguin) -> None:
    with pytest.raises(DeadlineExceeded):
        robot.ask('What is there?', timeout_s=1e-9)


def test_a_node_that_is_not_there_is_named(domain: int) -> None:
    with pytest.raises(NodeNotFound, match='/nobody'):
        Penguin('/nobody', discovery_s=0.2)


def test_the_tools_of_an_agent_do_the_same(rules: LiveRules, domain: int) -> None:
    """See test/mcp_server for what goes over its transports."""
    pytest.importorskip('mcp', reason='the SDK of the Model Context Protocol is missing')
    from mcp import Client

    from penguin_ros.mcp_server.robot_link import RobotLink, RobotOptions
    from penguin_ros.mcp_server.server import make_server

    async def talk() -> None:
        link = RobotLink(RobotOptions(timeout_s=WAIT_S))
        async with Client(make_server(link, allow_changes=True)) as agent:
            told = await agent.call_tool('ask', {'question': 'Dark?', 'choices': ['yes', 'no']})
            assert told.structured_content['choice'] == 'no'
            assert told.structured_content['evidence']['frames']
            rule = {'id': 'cat', 'condition': 'Is there a cat?'}
            assert not (await agent.call_tool('add_rule', rule)).is_error
            (listed,) = (await agent.call_tool('list_rules', {})).structured_content['rules']
            assert listed['id'] == 'cat'
            assert not (await agent.call_tool('remove_rule', {'id': 'cat'})).is_error
            gone = await agent.call_tool('remove_rule', {'id': 'cat'})
            assert gone.is_error and gone.structured_content['error'] == 'UnknownRule'
        await link.close()

    asyncio.run(talk())


def test_coroutines_do_the_same(rules: LiveRules, domain: int) -> None:
    async def talk() -> None:
        async with AsyncPenguin(timeout_s=WAIT_S) as robot:
            one, two = await asyncio.gather(robot.ask('What?'), robot.ask('Where?'))
            assert one.text and two.text
            stream = await robot.stream('What is there?')
            pieces = [piece async for piece in stream]
            assert ''.join(pieces) == stream.source.answer.text
            async with await robot.watch() as captions:
                assert (await anext(captions)).camera == 'camera'
            async with robot.conversation() as conversation:
                assert (await conversation.ask('What is there?')).conversation
            assert await robot.rules.list() == ()
            with pytest.raises(UnknownCamera):
                await robot.ask('What?', camera='nowhere')

    asyncio.run(talk())


def test_what_is_given_up_is_cancelled_on_the_node(
    robot: Penguin, rules: LiveRules, domain: int
) -> None:
    node = rules.node
    failed = node.status.questions_failed
    with robot.stream(f'Speak {ENDLESS}.') as stream:
        assert next(stream)
    assert list(stream) == []
    wait_for(lambda: node.status.questions_failed == failed + 1)
    with pytest.raises(DeadlineExceeded, match='0.5 s'):
        robot.ask(f'Speak {ENDLESS}.', timeout_s=0.5)
    wait_for(lambda: node.status.questions_failed == failed + 2)
    asyncio.run(cancelled_task())
    wait_for(lambda: node.status.questions_failed == failed + 3)
    assert node.status.questions_queued == 0


async def cancelled_task() -> None:
    """Asks in a task that is cancelled when the answer has begun."""
    async with AsyncPenguin(timeout_s=WAIT_S) as robot:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_text(text: str) -> None:
            loop.call_soon_threadsafe(begun.set)

        talk = robot.conversation()
        task = asyncio.ensure_future(talk.ask(f'Speak {ENDLESS}.', on_text))
        await asyncio.wait_for(begun.wait(), WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_closing_ends_what_still_waits(rules: LiveRules, domain: int) -> None:
    robot = Penguin(timeout_s=WAIT_S)
    stream = robot.stream(f'Speak {ENDLESS}.')
    ended: list[BaseException] = []

    def read() -> None:
        try:
            list(stream)
        except (Inactive, RequestCancelled) as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    wait_for(lambda: stream.text)
    failed = rules.node.status.questions_failed
    robot.close()
    reader.join(WAIT_S)
    assert len(ended) == 1 and not reader.is_alive()
    wait_for(lambda: rules.node.status.questions_failed == failed + 1)
    robot.close()


@pytest.mark.slow
def test_the_notebook_runs(
    rules: LiveRules, domain: int, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('nbformat')
    rules.hold('box')
    run_all(notebook_code(REPOSITORY / 'examples' / 'ask_a_robot.ipynb'))
    rules.hold()
    told = capsys.readouterr().out
    assert 'talking with /penguin' in told and 'yes' in told and 'box begin' in told
    assert 'no memory node' in told and "UnknownCamera no camera is called 'attic'" in told
    assert 'What is right? no' in told


@pytest.mark.slow
def test_the_code_of_the_page_runs(
    rules: LiveRules, domain: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run_all(page_code(REPOSITORY / 'docs' / 'python_client.md'))
    assert 'no {' in capsys.readouterr().out
