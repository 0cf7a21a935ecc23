# SPDX-License-Identifier: Apache-2.0
"""`penguin recall` and `penguin summarise` ask a running memory node, as people type them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_msgs.msg import Answer
from support.graph import REPOSITORY
from support.memory_graph import MemoryGraph

from penguin_ros.cli.main import main
from penguin_ros.frame import NANOSECONDS

BEGIN = (int(time.time()) - 3600) * NANOSECONDS
"""An hour ago: what is older than a year is forgotten."""


class Typed:
    """Runs the command beside the graph; `out`, `err` and `code` are those of the last one."""

    def __init__(self, memory: MemoryGraph) -> None:
        self._memory = memory

    def __call__(self, *words: str) -> Typed:
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(self._memory.graph.domain.number)}
        process = subprocess.Popen(
            [sys.executable, '-m', 'penguin_ros.cli.main', *words],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._memory.graph.wait_for(lambda: process.poll() is not None, 60, ' '.join(words))
        self.out, self.err = process.communicate()
        self.code = process.returncode
        return self


@pytest.fixture(scope='module')
def memory(graph: Any) -> Iterator[MemoryGraph]:
    """Remembers three captions, one minute apart."""
    memory = MemoryGraph(graph, graph.folder / 'store')
    memory.start({'pose.base_frame': '', 'recall.meaning': False})
    for number, text in enumerate(('A red box.', 'A blue ball.', 'A red box and a dog.')):
        memory.say(text, BEGIN + 60 * number * NANOSECONDS)
    memory.wait_for_texts('A red box.', 'A blue ball.', 'A red box and a dog.')
    yield memory
    memory.close()


@pytest.fixture(scope='module')
def typed(memory: MemoryGraph) -> Typed:
    return Typed(memory)


@pytest.mark.slow
def test_what_is_found_is_printed_as_lines_or_as_json(typed: Typed) -> None:
    typed('recall', 'red box', '--newest')
    assert typed.code == 0, typed.err
    assert [line.split('  ')[2] for line in typed.out.splitlines()] == [
        'A red box and a dog.',
        'A red box.',
    ]
    typed('recall', 'red box', '--last', '30s', '--json')
    (line,) = typed.out.splitlines()
    assert json.loads(line)['text'] == 'A red box and a dog.'
    assert json.loads(line)['end'] == BEGIN + 120 * NANOSECONDS
    assert typed('recall', 'zebra').code == 1
    assert 'nothing was found' in typed.err


@pytest.mark.slow
def test_what_the_node_refuses_is_told_in_its_words(typed: Typed) -> None:
    assert typed('recall', 'box', '--camera', 'nonesuch').code == 2
    assert 'nonesuch' in typed.err
    assert typed('recall', 'box', '--look-again', 'Is it?').code == 1
    assert 'nothing with a picture' in typed.err
    assert typed('recall', 'box', '--node', '/other').code == 2
    assert 'running: /memory' in typed.err


@pytest.mark.slow
def test_last_seen_and_a_summary_are_told(typed: Typed, memory: MemoryGraph) -> None:
    assert typed('recall', 'the dog', '--last-seen').code == 0, typed.err
    assert 'A red box and a dog.' in typed.out
    assert 'not looked at again' in typed.out
    assert typed('recall', 'a zebra', '--last-seen').code == 1
    assert typed('summarise', '--dry-run').code == 0
    assert '3 captions: 1 prompt, about' in typed.err
    penguin = memory.answering(lambda goal: Answer(id=goal.id, text='Boxes came.'))
    assert typed('summarise', '--last', '1h', '--focus', 'boxes').code == 0, typed.err
    assert typed.out == 'Boxes came.\n'
    assert 'boxes' in penguin.goals[0].question


def test_what_only_a_running_node_can_do_is_refused_with_a_folder(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ['--store', str(tmp_path)]
    assert main(['recall', 'box', '--look-again', 'Is it?', *folder]) == 2
    assert main(['recall', 'box', '--last-seen', *folder]) == 2
    assert 'Leave --store out' in capsys.readouterr().err
