# SPDX-License-Identifier: Apache-2.0
"""Servers that nobody here wrote answer about clips: llama.cpp's own, and `transformers serve`,
each with a tiny random model that sees pictures.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.asked_servers import Asker, clip_frames
from support.stand_in_server import closed_port, waited

from penguin_ros.remote.breaker import BreakerState
from penguin_ros.request import StopReason

SUPPORT = Path(__file__).resolve().parents[1] / 'support'
START_SECONDS = 240.0
PATIENT = {'first_s': 60.0, 'deadline_s': 90.0}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(script: str, folder: Path) -> None:
    subprocess.run([sys.executable, str(SUPPORT / script), str(folder)], check=True, timeout=300)


@contextmanager
def process(arguments: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is well; it is killed at the end."""
    environment = {**os.environ, 'HF_HUB_OFFLINE': '1'}
    with log.open('wb') as output:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
        )
    try:
        waited(lambda: _is_well(started, port, log), START_SECONDS)
        yield started
    finally:
        started.kill()
        started.wait(30)


def _is_well(started: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert started.poll() is None, log.read_text()[-2000:]
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/health', timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture(scope='module')
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for module in ('xllamacpp', 'gguf'):
        pytest.importorskip(module)
    folder, port = tmp_path_factory.mktemp('llama'), closed_port()
    run('tiny_gguf.py', folder)
    arguments = [str(SUPPORT / 'llama_server.py'), str(folder), str(port)]
    with process(arguments, port, folder / 'log'):
        yield f'http://127.0.0.1:{port}'


@pytest.fixture(scope='module')
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for module in ('torch', 'transformers', 'fastapi', 'uvicorn', 'accelerate'):
        pytest.importorskip(module)
    folder, port = tmp_path_factory.mktemp('transformers'), closed_port()
    run('tiny_llava.py', folder / 'tiny')
    serve = ['-m', 'transformers.cli.transformers', 'serve', str(folder / 'tiny')]
    with process([*serve, '--port', str(port), '--device', 'cpu'], port, folder / 'log'):
        yield f'http://127.0.0.1:{port},model={folder / "tiny"}'


def check_answers(asker: Any, url: str) -> None:
    engines: Asker = asker(url, idle_timeout=60.0)
    answer = engines.answer(max_tokens=12, **PATIENT)
    assert answer.error is None and answer.text
    assert answer.answerer is not None and answer.answerer.dialect == 'images'
    assert answer.stop_reason in (StopReason.MAX_TOKENS, StopReason.STOP_TOKEN)
    assert 0 < answer.stats.generated_tokens <= 12
    same = engines.answer(max_tokens=12, **PATIENT)
    assert same.text == answer.text, 'greedy'
    other = engines.answer(max_tokens=12, frames=clip_frames(shade=100), **PATIENT)
    assert other.text != answer.text, 'it looks at the pictures'
    longer = engines.answer(max_tokens=12, frames=clip_frames(8), **PATIENT)
    assert longer.stats.prompt_tokens > answer.stats.prompt_tokens
    for facts in ({'is_clip': False}, {'frames': ()}):
        assert engines.answer(max_tokens=5, **facts, **PATIENT).error is None


def check_cancelling(asker: Any, url: str) -> None:
    engines: Asker = asker(url, idle_timeout=60.0)
    long = engines.ask(max_tokens=3000, **PATIENT)
    waited(lambda: long.pieces or long.answers, 60.0)
    long.call.cancel()
    after = engines.ask(max_tokens=3, **PATIENT)
    assert after.wait().error is None
    assert not long.answers, 'it was given up before its end'


def test_llama_cpp_answers_about_a_clip(llama: str, asker: Any) -> None:
    check_answers(asker, llama)


def test_llama_cpp_stops_when_a_question_is_given_up(llama: str, asker: Any) -> None:
    check_cancelling(asker, llama)


def test_llama_cpp_refuses_what_is_too_long_by_a_named_cause(llama: str, asker: Any) -> None:
    asked = asker(llama).ask(text='word ' * 4000, is_urged=True, **PATIENT)
    assert asked.wait().error is not None and asked.cause == 'refused'


def test_transformers_serve_answers_about_a_clip(transformers: str, asker: Any) -> None:
    check_answers(asker, transformers)


def test_transformers_serve_stops_when_a_question_is_given_up(
    transformers: str, asker: Any
) -> None:
    check_cancelling(asker, transformers)


def test_a_real_server_that_is_killed_in_an_answer_is_left_alone_until_it_is_back(
    tmp_path: Path, asker: Any
) -> None:
    for module in ('xllamacpp', 'gguf'):
        pytest.importorskip(module)
    port = closed_port()
    run('tiny_gguf.py', tmp_path)
    arguments = [str(SUPPORT / 'llama_server.py'), str(tmp_path), str(port)]
    engines: Asker = asker(f'http://127.0.0.1:{port}', idle_timeout=60.0)
    with process(arguments, port, tmp_path / 'log') as started:
        waited(lambda: engines.status.dialect == 'images', 60.0)
        waited(lambda: engines.status.state is not BreakerState.OPEN, 60.0)
        asked = engines.ask(max_tokens=3500, **PATIENT)
        waited(lambda: asked.pieces, 60.0)
        started.kill()
        broken = asked.wait()
        assert broken.error is not None and 'broke off' in str(broken.error)
        waited(lambda: engines.status.state is BreakerState.OPEN, 60.0)
        assert engines.answer(is_urged=True).failed == (), 'nothing is asked of it'
    with process(arguments, port, tmp_path / 'log'):
        waited(lambda: engines.status.state is BreakerState.TRIAL, 60.0)
        assert engines.answer(max_tokens=5, **PATIENT).error is None
        assert engines.status.state is BreakerState.CLOSED
