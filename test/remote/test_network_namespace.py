# SPDX-License-Identifier: Apache-2.0
"""A server in a network namespace of its own, behind a real link that is cut and mended. Needs root
and the command ip.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.asked_servers import Asker
from support.stand_in_server import TEXT, waited

from penguin_ros.remote.breaker import BreakerState

ROOT = Path(__file__).resolve().parents[2]
SPACE, HERE, THERE = 'penguin_test', 'pgtest0', 'pgtest1'
HERE_ADDRESS, THERE_ADDRESS, PORT = '10.177.41.1', '10.177.41.2', 8360
SETTINGS = {'allow_http': True, 'connect_timeout': 0.5, 'idle_timeout': 1.0, 'recovery': 0.3}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def ip(*words: str, is_needed: bool = True) -> bool:
    done = subprocess.run(['ip', *words], capture_output=True, timeout=20)
    if is_needed and done.returncode:
        pytest.skip(f'no network namespaces here: ip {" ".join(words)}: {done.stderr.decode()}')
    return done.returncode == 0


def take_down() -> None:
    ip('link', 'del', HERE, is_needed=False)
    ip('netns', 'del', SPACE, is_needed=False)


@pytest.fixture(scope='module')
def link() -> Iterator[None]:
    if shutil.which('ip') is None:
        pytest.skip('the command ip is not there')
    take_down()
    try:
        ip('netns', 'add', SPACE)
        ip('link', 'add', HERE, 'type', 'veth', 'peer', 'name', THERE)
        ip('link', 'set', THERE, 'netns', SPACE)
        ip('addr', 'add', f'{HERE_ADDRESS}/30', 'dev', HERE)
        ip('-n', SPACE, 'addr', 'add', f'{THERE_ADDRESS}/30', 'dev', THERE)
        ip('link', 'set', HERE, 'up')
        ip('-n', SPACE, 'link', 'set', THERE, 'up')
        yield
    finally:
        take_down()


def cut() -> None:
    ip('-n', SPACE, 'link', 'set', THERE, 'down')


def mend() -> None:
    ip('-n', SPACE, 'link', 'set', THERE, 'up')


@pytest.fixture
def engines(link: None, asker: Any) -> Iterator[Asker]:
    """Asks a server that says a word every 0.3 s."""
    mend()
    script = str(ROOT / 'test' / 'support' / 'stand_in_server.py')
    server = subprocess.Popen(
        ['ip', 'netns', 'exec', SPACE, sys.executable, script, THERE_ADDRESS, str(PORT), '0.3'],
        stdin=subprocess.PIPE,
    )
    try:
        made: Asker = asker(f'http://{THERE_ADDRESS}:{PORT}', **SETTINGS)
        waited(lambda: made.status.dialect == 'penguin', 60.0)
        waited(lambda: made.status.state is not BreakerState.OPEN, 60.0)
        yield made
    finally:
        server.kill()
        server.wait(20)


def is_answered(engines: Asker) -> bool:
    return engines.answer(is_urged=True, first_s=5.0, deadline_s=10.0).text == TEXT


def test_a_link_that_is_cut_in_an_answer_ends_it_by_name_and_comes_back(engines: Asker) -> None:
    asked = engines.ask(first_s=10.0, deadline_s=30.0)
    waited(lambda: asked.pieces)
    cut()
    begin = time.monotonic()
    answer = asked.wait()
    assert 'broke off' in str(answer.error) and asked.cause == 'slow'
    assert time.monotonic() - begin < 5.0, (
        'the connection is half open: nobody says that it is gone'
    )
    waited(lambda: engines.status.state is BreakerState.OPEN)
    assert engines.answer(is_urged=True).failed == (), 'nothing waits for it'
    mend()
    waited(lambda: is_answered(engines), 60.0)
    assert engines.status.state is BreakerState.CLOSED


def test_a_link_that_is_cut_before_a_question_costs_its_time_limit(engines: Asker) -> None:
    assert is_answered(engines)
    cut()
    begin = time.monotonic()
    assert not is_answered(engines)
    assert time.monotonic() - begin < 8.0
    mend()
    waited(lambda: is_answered(engines), 60.0)
