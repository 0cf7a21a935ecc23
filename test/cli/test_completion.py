# SPDX-License-Identifier: Apache-2.0
"""What a shell offers for the verbs of `ros2 penguin`: asked through argcomplete, as ros2cli does,
beside nodes that are there and nodes that are not.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.cli.completion import add_completers

pytest.importorskip('penguin_msgs')
argcomplete = pytest.importorskip('argcomplete', reason='without it no shell completes')


@pytest.fixture
def robot(ros_domain: int) -> Iterator[Any]:
    """A penguin node and a memory node as far as the graph tells: an action, a service, latched
    states.
    """
    import rclpy
    from penguin_msgs.action import AnswerQuestion
    from penguin_msgs.msg import CameraStatus, RuleState, RuleStates, Status
    from penguin_msgs.srv import Recall
    from rclpy.action import ActionServer
    from rclpy.qos import DurabilityPolicy, QoSProfile

    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node('penguin', namespace='r1', context=context)
    memory = rclpy.create_node('memory', namespace='r1', context=context)
    action = ActionServer(node, AnswerQuestion, '~/answer_question', lambda _: None)
    memory.create_service(Recall, '~/recall', lambda _, response: response)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    cameras = [CameraStatus(name='front'), CameraStatus(name='rear')]
    states = [RuleState(rule='door', camera='front'), RuleState(rule='door', camera='rear')]
    for kind, topic, message in (
        (Status, 'status', Status(cameras=cameras)),
        (RuleStates, 'rule_states', RuleStates(states=[*states, RuleState(rule='smoke')])),
    ):
        node.create_publisher(kind, f'~/{topic}', latched).publish(message)
    yield node
    action.destroy()
    memory.destroy_node()
    node.destroy_node()
    context.try_shutdown()


def offered(verb: str, line: str) -> list[str]:
    """What argcomplete offers at the end of a line, for the parser of a verb."""
    parser = argparse.ArgumentParser(prog='penguin')
    importlib.import_module(f'penguin_ros.cli.{verb}').add_arguments(parser)
    add_completers(parser, verb)
    finder = argcomplete.CompletionFinder(parser, always_complete_options=False)
    prequote, prefix, _, words, last = argcomplete.split_line(f'penguin {line}', None)
    return [word.strip() for word in finder._get_completions(words, prefix, prequote, last)]


def offered_at_last(verb: str, line: str) -> list[str]:
    """What is offered once the graph is known: Fast DDS loses such news now and then."""
    return next((words for _ in range(4) if (words := offered(verb, line))), [])


def test_nodes_cameras_and_rules_that_are_there_are_offered(robot: Any) -> None:
    assert offered_at_last('watch', '--node /r1') == ['/r1/penguin']
    assert offered_at_last('recall', '--node /r1') == ['/r1/memory']
    assert offered_at_last('ask', 'What? --node /r1/penguin --camera r') == ['rear']
    assert offered_at_last('rules', 'remove ') == ['door', 'smoke']
    assert offered_at_last('rules', 'test do') == ['door']


def test_a_robot_that_is_not_there_offers_nothing_and_says_nothing(
    ros_domain: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered('rules', 'remove ') == []
    assert capsys.readouterr() == ('', '')


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('ros2') is None, reason='no ros2 here, which has ros2cli')
def test_the_real_ros2_offers_verbs_actions_and_nodes(robot: Any, tmp_path: Path) -> None:
    assert {'recall ', 'rules ', 'console ', 'memory '} <= completed('ros2 penguin ', tmp_path)
    assert {'add ', 'replay '} <= completed('ros2 penguin rules ', tmp_path)
    assert completed('ros2 penguin watch --node ', tmp_path) == {'/r1/penguin '}
    assert completed('ros2 penguin rules remove d', tmp_path) == {'door '}


def completed(line: str, folder: Path) -> set[str]:
    """What bash gets of the real command for a line; the words are separated by vertical tabs."""
    variables = {
        '_ARGCOMPLETE': '1',
        '_ARGCOMPLETE_STDOUT_FILENAME': str(folder / 'words'),
        'COMP_LINE': line,
        'COMP_POINT': str(len(line)),
        'COMP_TYPE': '9',
    }
    done = subprocess.run(
        ['ros2'], env={**os.environ, **variables}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, '')
    words = (folder / 'words').read_text(encoding='utf-8').split('\v')
    return {f'{word.strip()} ' for word in words}
