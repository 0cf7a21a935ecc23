# SPDX-License-Identifier: Apache-2.0
"""Behaviours of py_trees over a running node: they ask, branch, wait for events and cancel, and no
tick waits for anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
py_trees = pytest.importorskip('py_trees', reason='py_trees is missing')

from penguin_msgs.msg import Answer
from py_trees.common import Status
from support.graph import REPOSITORY, Graph
from support.live_rules import LiveRules
from support.memory_graph import AnsweringNode
from support.python_pages import page_code, run_all
from support.watching_node import ENDLESS

from penguin_ros.behaviours import Ask, Describe, WaitForEvent
from penguin_ros.errors import InvalidRequest

WAIT_S = 60.0


@pytest.fixture(scope='module')
def rules(
    graph: Graph, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveRules]:
    """A node whose model says yes to what holds and no to all else, with a camera that goes on."""
    live = LiveRules(
        graph, tiny_checkpoint, tmp_path_factory.mktemp('rules'), question__max_tokens=3000
    )
    yield live
    live.node.process.stop()


@pytest.fixture
def planted(rules: LiveRules) -> Iterator[Callable[[Any], Any]]:
    """Returns trees of a behaviour, set up over the node of the test; they are shut down."""
    trees = []

    def plant(root: Any) -> Any:
        py_trees.blackboard.Blackboard.clear()
        trees.append(py_trees.trees.BehaviourTree(root))
        trees[-1].setup(node=rules.graph.node)
        return trees[-1]

    yield plant
    for tree in trees:
        tree.shutdown()
    rules.hold()


def ticked(rules: LiveRules, tree: Any, is_over: Callable[[], Any] | None = None) -> Any:
    """Ticks, while the graph spins between the ticks, until the root is through."""

    def through() -> bool:
        tree.tick()
        done = tree.root.status in (Status.SUCCESS, Status.FAILURE)
        return bool(is_over()) if is_over is not None else done

    rules.graph.wait_for(through, WAIT_S, 'the tree')
    return tree.root


def board(key: str) -> Any:
    return py_trees.blackboard.Blackboard.get(key)


@pytest.mark.slow
def test_an_answer_succeeds_and_stands_on_the_blackboard(rules: LiveRules, planted: Any) -> None:
    ask = Ask('ask', 'What is there?', key='seen')
    root = ticked(rules, planted(ask))
    assert root.status == Status.SUCCESS and root.feedback_message == 'no'
    assert board('seen').text == 'no' and board('seen').evidence.frames
    root = ticked(rules, planted(Describe('describe')))
    assert root.status == Status.SUCCESS and board('description').camera == 'camera'


@pytest.mark.slow
def test_a_typed_answer_decides_the_branch(rules: LiveRules, planted: Any) -> None:
    def tree(**more: Any) -> Any:
        return planted(Ask('door', 'Is the door open?', choices=['yes', 'no'], **more))

    assert ticked(rules, tree(expected='yes')).status == Status.FAILURE
    assert board('answer').choice == 'no'
    rules.hold('door')
    assert ticked(rules, tree(expected='yes')).status == Status.SUCCESS
    assert ticked(rules, tree(expected=['no', 'maybe'])).status == Status.FAILURE
    assert ticked(rules, tree(expected='yes', min_probability=1.1)).status == Status.FAILURE


@pytest.mark.slow
def test_an_error_fails_with_its_name(rules: LiveRules, planted: Any) -> None:
    root = ticked(rules, planted(Ask('ask', 'What is there?', camera='attic')))
    assert root.status == Status.FAILURE and root.feedback_message.startswith('UnknownCamera: ')
    assert board('answer') is None


@pytest.mark.slow
def test_a_node_that_is_not_there_is_waited_for_without_blocking(
    rules: LiveRules, planted: Any
) -> None:
    tree = planted(Ask('ask', 'What is there?', penguin='/nobody', timeout_s=0.5))
    tree.tick()
    assert tree.root.status == Status.RUNNING and '/nobody' in tree.root.feedback_message
    root = ticked(rules, tree)
    assert root.status == Status.FAILURE and 'DeadlineExceeded' in root.feedback_message


@pytest.mark.slow
def test_a_tree_that_goes_on_without_the_answer_cancels(rules: LiveRules, planted: Any) -> None:
    node = rules.node
    failed = node.status.questions_failed
    tree = planted(Ask('ask', f'Speak {ENDLESS}.'))
    before = ('', 'waiting for /penguin', 'asked')
    ticked(rules, tree, lambda: tree.root.feedback_message not in before)
    assert tree.root.status == Status.RUNNING
    tree.root.stop(Status.INVALID)
    rules.graph.wait_for(lambda: node.status.questions_failed == failed + 1, WAIT_S)
    late = planted(Ask('ask', f'Speak {ENDLESS}.', timeout_s=0.3))
    assert ticked(rules, late).status == Status.FAILURE
    rules.graph.wait_for(lambda: node.status.questions_failed == failed + 2, WAIT_S)
    early = planted(Ask('ask', f'Speak {ENDLESS}.'))
    ticked(rules, early, lambda: early.root.feedback_message == 'asked')
    early.root.stop(Status.INVALID)  # before the node has taken it
    rules.graph.wait_for(lambda: node.status.questions_failed == failed + 3, WAIT_S)
    assert node.status.questions_queued == 0


@pytest.mark.slow
def test_an_event_is_waited_for(rules: LiveRules, planted: Any) -> None:
    rules.set('dog', 'Is there a dog?')
    tree = planted(WaitForEvent('wait', 'dog'))
    ticked(rules, tree, lambda: True)
    assert tree.root.status == Status.RUNNING and board('event') is None
    rules.hold('dog')
    assert ticked(rules, tree).status == Status.SUCCESS
    assert (board('event').kind, board('event').rule) == ('begin', 'dog')
    gone = planted(WaitForEvent('gone', 'dog', kinds=['end'], camera='camera'))
    ticked(rules, gone, lambda: True)
    rules.hold()
    assert ticked(rules, gone).status == Status.SUCCESS and board('event').kind == 'end'
    nothing = planted(WaitForEvent('nothing', 'cat', timeout_s=0.3))
    assert ticked(rules, nothing).status == Status.FAILURE
    rules.remove('dog')
    with pytest.raises(InvalidRequest, match='bark'):
        WaitForEvent('wrong', kinds=['bark'])


@pytest.mark.slow
def test_the_example_asks_branches_and_waits(rules: LiveRules) -> None:
    rules.hold('door')
    told = example(rules, lambda: None)
    assert '/door yes' in told and '/description no' in told and '/event None' in told
    rules.hold()
    rules.set('door', 'Is the door open?')
    told = example(rules, lambda: rules.hold('door'))
    assert '/door no' in told and "kind='begin'" in told
    rules.remove('door')
    rules.hold()


def test_questions_are_sent_answered_and_cancelled_between_ticks(fresh_graph: Graph) -> None:
    graph = fresh_graph
    penguin = AnsweringNode(graph, lambda goal: Answer(text='a box', question=goal.question))
    asking = Ask('ask', 'What is there?')
    tree = py_trees.trees.BehaviourTree(asking)
    tree.setup(node=graph.node)
    tree.tick()
    assert asking.status == Status.RUNNING and board('answer') is None

    def is_over() -> bool:
        tree.tick()
        return bool(asking.status == Status.SUCCESS)

    graph.wait_for(is_over, WAIT_S)
    assert board('answer').text == asking.feedback_message == 'a box'
    assert penguin.goals[0].question == 'What is there?'
    penguin.is_silent = True
    tree.tick()
    graph.wait_for(lambda: len(penguin.goals) == 2, WAIT_S)
    asking.stop(Status.INVALID)
    graph.wait_for(lambda: penguin.cancelled, WAIT_S)
    tree.tick()
    tree.shutdown()  # in the middle of a question
    assert graph.holds_for(lambda: True, 0.2)
    penguin.close()


def test_the_code_of_the_page_makes_a_tree() -> None:
    names = run_all(page_code(REPOSITORY / 'docs' / 'behaviour_trees.md'))
    assert [each.name for each in names['tree'].root.iterate()][-1] == 'watch'


def example(rules: LiveRules, once_asked: Callable[[], None]) -> str:
    """Runs the example beside the node; calls `once_asked` when its question is answered."""
    answered = len(rules.node.answers)
    log = rules.graph.folder / 'watch_tree.log'
    with log.open('wb') as output:
        program = subprocess.Popen(
            [sys.executable, str(REPOSITORY / 'examples' / 'watch_tree.py')],
            env={**os.environ, 'ROS_DOMAIN_ID': str(rules.graph.domain.number)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        rules.graph.wait_for(lambda: len(rules.node.answers) > answered, WAIT_S, 'its question')
        once_asked()
        rules.graph.wait_for(lambda: program.poll() is not None, WAIT_S, 'the end of the example')
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 0, log.read_text()
    return log.read_text()
