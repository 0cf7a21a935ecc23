# SPDX-License-Identifier: Apache-2.0
"""Every `ros2` command of docs/stock_tools.md and README.md can be typed as it is quoted: what it
names exists, its YAML is read as meant, and where `ros2` is there it is typed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 here')

from support.live_node import LiveNode
from support.stock_commands import WITH_MESSAGE, filled, shown, words_of

from penguin_ros.config import PenguinConfig
from penguin_ros.settings import settings, with_values

TRANSITIONS = {'configure', 'activate', 'deactivate', 'cleanup', 'shutdown'}
ENDLESS = {('topic', 'hz'), ('topic', 'echo')}
FAULTS = ('Traceback', 'ParserError', 'parameter failed', 'Unknown transition', 'success=False')
SECONDS = 60.0
TRIES = 5
UNDISCOVERED = ('does not appear to be published yet', 'Node not found')


def test_the_page_shows_a_command_for_each_interface() -> None:
    verbs = {words_of(line)[0] for line in shown()}
    assert verbs >= {*WITH_MESSAGE, ('param', 'set'), ('lifecycle', 'set'), ('topic', 'echo')}


@pytest.mark.parametrize('line', [line for line in shown() if words_of(line)[0] in WITH_MESSAGE])
def test_a_message_that_is_quoted_is_read_as_it_is_meant(line: str) -> None:
    assert len(re.findall(r'(?<!\\)"', line)) == 2, 'double quotes outside'
    _, (_, name, text) = words_of(line)
    message = filled(name, text)
    if hasattr(message, 'question'):
        assert message.question.endswith('?')


def test_what_the_page_warns_of_fails_and_its_remedy_does_not() -> None:
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load('{question: What is there?}')
    assert yaml.safe_load("{question: 'What''s there?'}") == {'question': "What's there?"}


@pytest.mark.parametrize('line', [line for line in shown() if line.startswith('ros2 param')])
def test_a_parameter_that_is_shown_exists_and_takes_the_value(line: str) -> None:
    (_, verb), (node, *given) = words_of(line)
    assert node == '/penguin'
    if given:
        assert given[0] in settings(PenguinConfig())
    if verb == 'set':
        with_values(PenguinConfig(), {given[0]: yaml.safe_load(given[1])})


@pytest.mark.parametrize('line', [line for line in shown() if 'lifecycle set' in line])
def test_a_transition_that_is_shown_exists(line: str) -> None:
    assert words_of(line)[1][1] in TRANSITIONS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_can_be_typed(live_node: Callable[..., LiveNode]) -> None:
    if shutil.which('ros2') is None:
        pytest.skip('no ros2 here: an installed ROS 2 has it, or python tools/get_ros_tools.py DIR')
    node = live_node({'caption.period': 0.5}, frames_hz=10.0)
    for line in shown():
        # Without a daemon each command discovers the graph anew, and some give up in half a second.
        for _ in range(TRIES):
            text = typed(node, line)
            if text is not None:
                break
        else:
            raise AssertionError(f'{line} found nothing in {TRIES} tries')


def is_endless(line: str) -> bool:
    return words_of(line)[0] in ENDLESS and '--once' not in line


def has_ended(process: subprocess.Popen[bytes], node: LiveNode, line: str, log: Path) -> bool:
    """Whether a command has ended, or has printed something where it never ends."""
    if is_endless(line) and '/answer' in line:
        node.ask()  # until it has found the topic
    return process.poll() is not None or (is_endless(line) and bool(log.read_bytes()))


def typed(node: LiveNode, line: str) -> str | None:
    """Types a command while the camera publishes, and returns what it printed: it succeeds, or
    prints something for ever. None when it had not discovered the node yet.
    """
    log = node.graph.folder / 'typed.log'
    environment = {
        **os.environ,
        'ROS_DOMAIN_ID': str(node.graph.domain.number),
        'ROS2CLI_NO_DAEMON': '1',
        'PYTHONUNBUFFERED': '1',
    }
    with log.open('wb') as output:
        process = subprocess.Popen(
            ['bash', '-c', f'exec {line}'],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            node.graph.wait_for(lambda: has_ended(process, node, line, log), SECONDS, line)
        finally:
            process.terminate()
            process.wait()
    text = log.read_text(errors='replace')
    if any(words in text for words in UNDISCOVERED):
        return None
    assert is_endless(line) or process.returncode == 0, f'{line}\n{text}'
    for word in FAULTS:
        assert word not in text, f'{line}\n{text}'
    return text
