# SPDX-License-Identifier: Apache-2.0
"""A pipeline that asks `penguin serve` says what it would say itself, through networks that are bad
and servers that are killed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stand_in_server import waited
from support.tcp_proxy import TcpProxy, Weather

from penguin_ros.config import PenguinConfig
from penguin_ros.demo.served_engine import ServedEngine
from penguin_ros.frame import Frame
from penguin_ros.pipeline import Pipeline
from penguin_ros.remote.breaker import BreakerState
from penguin_ros.request import Answer, Request
from penguin_ros.settings import with_values

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
PATIENCE_S = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Robot:
    """A pipeline with gray frames, which a JPEG of quality 100 keeps as they are."""

    def __init__(self, checkpoint: Path, url: str, **values: Any) -> None:
        settings = {
            'model.checkpoint': str(checkpoint),
            'model.threads': 1,
            'question.max_tokens': 12,
            'generation.max_repeats': 0,
            'remote.endpoints': f'served={url}',
            'remote.jpeg_quality': 100,
            'remote.check_period': 0.2,
            'remote.recovery': 0.3,
            'remote.first_timeout': 20.0,
            **{name.replace('__', '.'): value for name, value in values.items()},
        }
        self.now_ns = START
        self.config = with_values(PenguinConfig(), settings)
        self.pipeline = Pipeline(self.config, ['front'], now_ns=lambda: self.now_ns)
        self.pipeline.open()
        self.pipeline.activate()
        self.show(3)

    def show(self, count: int) -> None:
        for _ in range(count):
            self.now_ns += SECOND // 2
            shade = 20 + self.now_ns // SECOND * 7 % 200
            self.pipeline.add_frame(
                Frame(self.now_ns, np.full((84, 112, 3), shade, np.uint8), 'front')
            )

    def use(self, engine: str) -> None:
        self.config = with_values(self.config, {'question.engine': engine})
        self.pipeline.configure(self.config)

    def ask(
        self, engine: str, text: str = 'What is there?', deadline_s: float = 0.0, **facts: Any
    ) -> Answer:
        self.use(engine)
        ended, answers = threading.Event(), []  # type: ignore[var-annotated]
        self.pipeline.submit(
            Request('', text, deadline_ns=round(deadline_s * SECOND), **facts),
            lambda answer: (answers.append(answer), ended.set()) and None,
        )
        assert ended.wait(PATIENCE_S)
        return answers[0]

    @property
    def endpoint(self) -> Any:
        status = self.pipeline.status().remote
        assert status is not None
        return status.endpoints[0]


@pytest.fixture(scope='module')
def proxy() -> Iterator[TcpProxy]:
    with TcpProxy(0) as running:
        yield running


@pytest.fixture(scope='module')
def server(
    tiny_checkpoint: Path, proxy: TcpProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedEngine]:
    pytest.importorskip('torch')
    pytest.importorskip('aiohttp')
    same = ('generation.max_repeats=0', 'model.threads=1')
    served = ServedEngine(
        str(tiny_checkpoint),
        tmp_path_factory.mktemp('served'),
        [
            *(word for setting in same for word in ('--set', setting)),
            *('--name', 'localhost'),  # any port of this machine: the proxy has its own
        ],
    )
    proxy.retarget(served.port)
    served.start()
    waited(served.is_ready, PATIENCE_S)
    yield served
    served.stop()


@pytest.fixture(scope='module')
def robot(tiny_checkpoint: Path, proxy: TcpProxy, server: ServedEngine) -> Iterator[Robot]:
    made = Robot(tiny_checkpoint, proxy.url)
    yield made
    assert made.pipeline.close(20.0)


def test_a_served_engine_says_what_the_model_of_the_node_would(robot: Robot) -> None:
    assert robot.endpoint.dialect == 'penguin'
    for question in ('What is there?', 'Is anything moving?', 'Count the boxes.'):
        robot.show(1)
        own, served = robot.ask('local', question), robot.ask('remote', question)
        assert served.error is None and own.error is None
        assert (served.text, served.evidence.endpoint) == (own.text, 'served')
        for name in ('frames', 'model_digest', 'stop_reason', 'start_ns', 'end_ns'):
            assert getattr(served.evidence, name) == getattr(own.evidence, name), name
        for name in ('prompt_tokens', 'visual_tokens', 'generated_tokens'):
            assert getattr(served.evidence.stats, name) == getattr(own.evidence.stats, name), name


def test_a_served_engine_is_as_sure_of_choices_and_keeps_to_a_schema(robot: Robot) -> None:
    own, served = (robot.ask(engine, choices=('yes', 'no')) for engine in ('local', 'remote'))
    assert own.chosen is not None and served.chosen is not None
    assert (served.text, served.evidence.endpoint) == (own.text, 'served')
    assert served.chosen.probabilities == pytest.approx(own.chosen.probabilities, abs=1e-4)
    assert served.chosen.cannot_tell == pytest.approx(own.chosen.cannot_tell, abs=1e-4)
    pytest.importorskip('llguidance')
    schema = '{"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], '
    schema += '"additionalProperties": false}'
    own, served = (robot.ask(engine, json_schema=schema) for engine in ('local', 'remote'))
    assert (served.error, served.evidence.endpoint) == (None, 'served')
    assert served.json == own.json != ''


def test_a_picture_crosses_the_wire_once(robot: Robot) -> None:
    robot.ask('remote')
    before = robot.endpoint
    robot.ask('remote', 'What else?')
    after = robot.endpoint
    assert after.pictures_sent == before.pictures_sent
    assert after.pictures_named > before.pictures_named


@pytest.mark.parametrize(
    'weather',
    [Weather(delay_s=0.1), Weather(loss=0.01), Weather(loss=0.2, late_s=0.1)],
    ids=['100 ms', '1 % lost', '20 % lost'],
)
def test_a_bad_network_changes_no_answer(weather: Weather, robot: Robot, proxy: TcpProxy) -> None:
    proxy.weather = weather
    robot.show(1)
    own, served = robot.ask('local'), robot.ask('remote')
    proxy.weather = Weather()
    assert (served.text, served.error) == (own.text, None)


@pytest.mark.parametrize(
    'weather',
    [Weather(is_black_hole=True), Weather(is_deaf=True), Weather(is_resetting=True)],
    ids=['black hole', 'half open', 'resets'],
)
def test_the_own_model_answers_in_time_when_the_network_is_gone(
    weather: Weather, robot: Robot, proxy: TcpProxy
) -> None:
    waited(lambda: robot.endpoint.state is BreakerState.CLOSED or _tried(robot), PATIENCE_S)
    proxy.weather = weather
    begin = time.monotonic()
    answer = robot.ask('auto', deadline_s=8.0)
    assert (answer.error, answer.evidence.endpoint) == (None, '')
    assert time.monotonic() - begin < 8.0 and 'served' in answer.evidence.fallback_reason
    proxy.weather = Weather()
    waited(lambda: _tried(robot), PATIENCE_S)


def _tried(robot: Robot) -> bool:
    """Asks again; whether the server answers."""
    return robot.ask('auto').evidence.endpoint == 'served'


def test_a_server_that_is_killed_and_started_again_gets_its_pictures_again(
    robot: Robot, server: ServedEngine
) -> None:
    assert robot.ask('remote').error is None
    server.kill()
    assert robot.ask('auto').evidence.endpoint == ''
    sent = robot.endpoint.pictures_sent
    server.start()
    waited(server.is_ready, PATIENCE_S)
    waited(lambda: _tried(robot), PATIENCE_S)
    assert robot.endpoint.pictures_sent >= sent + 3
    own, served = robot.ask('local'), robot.ask('remote')
    assert served.text == own.text
