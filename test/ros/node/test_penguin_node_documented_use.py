# SPDX-License-Identifier: Apache-2.0
"""What README, docs/interfaces.md and examples/ say about interfaces holds on a live node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from support.graph import stamp_ns
from support.live_node import LiveNode

ROOT = Path(__file__).resolve().parents[3]
README, INTERFACES = ROOT / 'README.md', ROOT / 'docs' / 'interfaces.md'
EXAMPLE = ROOT / 'examples' / 'ask_from_your_node.py'
COMPRESSED = 'camera/image/compressed'
# Every lifecycle node of rclpy has these.
STANDARD = re.compile(r'/rosout|/parameter_events|.*/_action/.*|.*/transition_event|/clock')
STANDARD_TYPES = re.compile(r'(rcl|lifecycle|type_description)_interfaces/.*|lifecycle_msgs/.*')


@pytest.fixture(scope='module')
def node(live_node: Callable[..., LiveNode]) -> LiveNode:
    """An active node that gets raw images of its one camera."""
    return live_node({'caption.enabled': False}, frames_hz=10.0)


def run(node: LiveNode, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python program beside the node, while the camera publishes."""
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(node.graph.domain.number)}
    log = node.graph.folder / 'program.log'
    with log.open('wb') as output:
        program = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            node.graph.wait_for(lambda: program.poll() is not None, 60.0, f'the end of {command}')
        finally:
            program.kill()
            program.wait()
    return subprocess.CompletedProcess(command, program.returncode, log.read_text())


def test_the_example_prints_the_answer_and_the_frames_it_rests_on(node: LiveNode) -> None:
    result = run(node, str(EXAMPLE), 'What', 'is', 'this?')
    assert result.returncode == 0, result.stdout
    answer = node.graph.wait_for(lambda: node.answers[-1:], what='the answer on ~/answer')[0]
    assert answer.question == 'What is this?' and answer.evidence.generated_tokens > 0
    assert f'answer: {answer.text}\n' in result.stdout
    shown = re.findall(r'^frame:  (\d+)\.(\d{9}) of camera$', result.stdout, re.MULTILINE)
    stamps_ns = [int(seconds) * 10**9 + int(rest) for seconds, rest in shown]
    assert stamps_ns == [stamp_ns(frame.stamp) for frame in answer.evidence.frames]
    assert stamps_ns and set(stamps_ns) <= set(node.camera.stamps_ns), 'frames that were published'


def test_the_example_ends_with_an_error_when_the_answer_is_one(node: LiveNode) -> None:
    result = run(node, str(EXAMPLE), ' ' * 3 + '\t')
    assert result.returncode == 1, result.stdout
    assert f'answer: {node.answers[-1].error_message}' in result.stdout


def test_the_code_in_the_readme_works_as_printed(node: LiveNode, tmp_path: Path) -> None:
    blocks = re.findall(r'^```python\n(.*?)^```', README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    program = tmp_path / 'readme.py'
    program.write_text(blocks[0])
    result = run(node, str(program))
    assert result.returncode == 0, result.stdout
    answer = node.graph.wait_for(lambda: node.answers[-1:], what='the answer on ~/answer')[0]
    assert answer.question == 'How many things are there?' and answer.error_code == 0
    assert f'{answer.text} ({len(answer.evidence.frames)} frames)' in result.stdout


# --- the table of interfaces ----------------------------------------------------------------------


def rows(page: Path, columns: int) -> dict[str, list[str]]:
    """Returns the rows with that many columns that begin with code, by name; `~` is the node."""
    found = [
        [cell.strip().strip('`') for cell in line.split('|')[1:-1]]
        for line in page.read_text(encoding='utf-8').splitlines()
        if line.startswith('| `')
    ]
    found = [row for row in found if len(row) == columns]
    assert found
    return {re.sub('^(?!/)', '/', row[0].replace('~', '/penguin')): row[1:] for row in found}


def endpoints(client: Node) -> dict[str, tuple[str, str]]:
    """Returns what the node has in the graph beyond what every node has: kind and type by name."""
    of = ('penguin', '/')
    found = {
        'publishes': client.get_publisher_names_and_types_by_node(*of),
        'subscribes': client.get_subscriber_names_and_types_by_node(*of),
        'service': client.get_service_names_and_types_by_node(*of),
        'action': get_action_server_names_and_types_by_node(client, *of),
    }
    return {
        name: (kind, types[0])
        for kind, entries in found.items()
        for name, types in entries
        if not STANDARD.fullmatch(name) and not STANDARD_TYPES.fullmatch(types[0])
    }


def test_the_table_of_interfaces_is_that_of_the_graph(node: LiveNode) -> None:
    table = {name: (row[0], row[1]) for name, row in rows(INTERFACES, 5).items()}
    assert table.pop(f'/{COMPRESSED}') == ('subscribes', 'sensor_msgs/msg/CompressedImage')
    node.graph.observe(lambda client: endpoints(client) == table, what='the endpoints of the table')


def test_the_readme_shows_rows_of_that_table(node: LiveNode) -> None:
    all_rows = rows(INTERFACES, 5)
    shown = rows(README, 3)
    assert len(shown) == 6
    assert [row[0] for row in shown.values()] == [all_rows[name][1] for name in shown]


TOPICS = [
    name
    for name, row in rows(INTERFACES, 5).items()
    if row[0] in ('publishes', 'subscribes') and COMPRESSED not in name
]


@pytest.mark.parametrize('name', TOPICS)
def test_the_quality_of_service_in_the_table_is_that_of_the_topic(
    node: LiveNode, name: str
) -> None:
    kind, _, words, _ = rows(INTERFACES, 5)[name]
    query = f'get_{"publishers" if kind == "publishes" else "subscriptions"}_info_by_topic'

    def found(client: Node) -> Any:
        return [
            info.qos_profile for info in getattr(client, query)(name) if info.node_name == 'penguin'
        ]

    profile = node.graph.observe(found, what=name)[0]
    assert (profile.reliability == ReliabilityPolicy.RELIABLE) == ('reliable' in words)
    assert (profile.reliability == ReliabilityPolicy.BEST_EFFORT) == ('best effort' in words)
    assert (profile.durability == DurabilityPolicy.TRANSIENT_LOCAL) == ('latched' in words)
