# SPDX-License-Identifier: Apache-2.0
"""A node that asks a server over a network that fails and mends: what clients, diagnostics and
parameters show, and that cameras never wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('aiohttp')

from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode, ModelInfo
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from support.live_node import LiveNode, scripted_node, with_frames
from support.stand_in_server import TEXT, StandInServer
from support.tcp_proxy import TcpProxy, Weather

KEY = 's3cret-of-the-lab'
REMOTE = 'remote engine lab'
PARAMETERS = {
    'question.engine': 'auto',
    'caption.engine': 'auto',
    'caption.period': 0.5,
    'remote.check_period': 0.2,
    'remote.recovery': 0.5,
    'remote.connect_timeout': 0.5,
    'remote.idle_timeout': 1.0,
    'remote.caption_timeout': 1.0,
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def server() -> Iterator[StandInServer]:
    with StandInServer('penguin', key=KEY) as running:
        yield running


@pytest.fixture(scope='module')
def proxy(server: StandInServer) -> Iterator[TcpProxy]:
    with TcpProxy(server.port) as running:
        yield running


@pytest.fixture(scope='module')
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp('keys') / 'lab'
    file.write_text(f'{KEY}\n')
    return file


@pytest.fixture(scope='module')
def node(
    graph: Any, loadable_checkpoint: Path, proxy: TcpProxy, key_file: Path
) -> Iterator[LiveNode]:
    """Active, with 10 frames per second."""
    endpoints = f'lab={proxy.url},key_file={key_file}'
    running = scripted_node(
        graph, loadable_checkpoint, {**PARAMETERS, 'remote.endpoints': endpoints}
    )
    running.wait_until('active')
    running.camera = with_frames(running, hertz=10.0)
    yield running
    running.process.stop()


def check_answered_by(node: LiveNode, endpoint: str, **fields: Any) -> Any:
    answer = node.ask(**fields).answer
    assert answer.error_code == ErrorCode.NONE, answer.error_message
    assert answer.evidence.endpoint == endpoint
    assert bool(answer.evidence.fallback_reason) == (not endpoint)
    return answer


def wait_for_caption(node: LiveNode, endpoint: str) -> Any:
    seen = len(node.captions)
    return node.graph.wait_for(
        lambda: next(
            (
                caption
                for caption in node.captions[seen:]
                if caption.evidence.endpoint == endpoint and not caption.error_code
            ),
            None,
        ),
        30.0,
        f'a caption by {endpoint or "the own model"}',
    )


def test_a_server_answers_and_the_node_says_which(node: LiveNode) -> None:
    answer = check_answered_by(node, 'lab')
    assert answer.text == TEXT and answer.evidence.model_name == 'stand-in'
    assert len(answer.evidence.frames) > 0 and answer.evidence.visual_tokens == 60
    assert wait_for_caption(node, 'lab').text == TEXT
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    facts: list[Any] = []
    node.graph.node.create_subscription(ModelInfo, f'{node.name}/model_info', facts.append, latched)
    node.graph.wait_for(lambda: facts)
    assert [list(getattr(facts[0], name)) for name in ('endpoints', 'endpoint_dialects')] == [
        ['lab'],
        ['penguin'],
    ]
    assert list(facts[0].endpoint_models) == ['stand-in'] and facts[0].name != 'stand-in'
    node.wait_for_entry(REMOTE, DiagnosticStatus.OK, 'spoken to in penguin')


def test_the_key_is_shown_nowhere(node: LiveNode, server: StandInServer) -> None:
    graph = node.graph
    check_answered_by(node, 'lab')
    assert server.headers[-1]['Authorization'] == f'Bearer {KEY}'
    names = graph.call(
        graph.client(ListParameters, f'{node.name}/list_parameters'), ListParameters.Request()
    ).result.names
    values = graph.call(
        graph.client(GetParameters, f'{node.name}/get_parameters'),
        GetParameters.Request(names=names),
    ).values
    assert len(values) > 50
    for shown in (values, node.diagnostics, node.statuses, node.process.log):
        assert KEY not in str(shown)


@pytest.mark.parametrize(
    'weather',
    [Weather(is_black_hole=True), Weather(is_resetting=True), Weather(delay_s=2.0)],
    ids=['black hole', 'resets', '2 s late'],
)
def test_a_network_that_fails_delays_no_camera_and_no_question(
    weather: Weather, node: LiveNode, proxy: TcpProxy
) -> None:
    graph = node.graph
    check_answered_by(node, 'lab')
    proxy.weather = weather
    begin, received = time.monotonic(), node.camera_status().frames_received
    statuses = len(node.statuses)
    answer = check_answered_by(node, '', deadline=Duration(sec=6))
    assert time.monotonic() - begin < 6.0 and 'lab' in answer.evidence.fallback_reason
    node.wait_for_entry(REMOTE, DiagnosticStatus.WARN, 'left alone')
    wait_for_caption(node, '')
    graph.holds_for(lambda: True, 2.0)
    seconds = time.monotonic() - begin
    taken = node.camera_status().frames_received - received
    assert taken > 1.2 * (seconds - 2.0), 'of 10 frames per second two are taken'
    assert len(node.statuses) - statuses > 0.7 * seconds - 2, 'status went on'
    proxy.weather = Weather()
    wait_for_caption(node, 'lab')
    node.wait_for_entry(REMOTE, DiagnosticStatus.OK, 'spoken to in penguin')
    values = node.entry_values(REMOTE)
    assert int(values['times left alone']) >= 1 and int(values['answers']) >= 2
