# SPDX-License-Identifier: Apache-2.0
"""Servers that nobody here wrote answer about clips: llama.cpp's own, and `transformers serve`,
each with a tiny random model that sees pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.asked_servers import Asker
from support.real_servers import (
    PATIENT,
    SUPPORT,
    check_answers,
    check_cancelling,
    server_process,
    write_model,
)
from support.stand_in_server import closed_port, waited

from penguin_ros.remote.breaker import BreakerState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope='module')
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for module in ('xllamacpp', 'gguf'):
        pytest.importorskip(module)
    folder, port = tmp_path_factory.mktemp('llama'), closed_port()
    write_model('tiny_gguf.py', folder)
    arguments = [sys.executable, str(SUPPORT / 'llama_server.py'), str(folder), str(port)]
    with server_process(arguments, port, folder / 'log'):
        yield f'http://127.0.0.1:{port}'


@pytest.fixture(scope='module')
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for module in ('torch', 'transformers', 'fastapi', 'uvicorn', 'accelerate'):
        pytest.importorskip(module)
    folder, port = tmp_path_factory.mktemp('transformers'), closed_port()
    write_model('tiny_llava.py', folder / 'tiny')
    serve = [sys.executable, '-m', 'transformers.cli.transformers', 'serve', str(folder / 'tiny')]
    with server_process([*serve, '--port', str(port), '--device', 'cpu'], port, folder / 'log'):
        yield f'http://127.0.0.1:{port},model={folder / "tiny"}'


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
    write_model('tiny_gguf.py', tmp_path)
    arguments = [sys.executable, str(SUPPORT / 'llama_server.py'), str(tmp_path), str(port)]
    engines: Asker = asker(f'http://127.0.0.1:{port}', idle_timeout=60.0)
    with server_process(arguments, port, tmp_path / 'log') as started:
        waited(lambda: engines.status.dialect == 'images', 60.0)
        waited(lambda: engines.status.state is not BreakerState.OPEN, 60.0)
        asked = engines.ask(max_tokens=3500, **PATIENT)
        waited(lambda: asked.pieces, 60.0)
        started.kill()
        broken = asked.wait()
        assert broken.error is not None and 'broke off' in str(broken.error)
        waited(lambda: engines.status.state is BreakerState.OPEN, 60.0)
        assert engines.answer(is_urged=True).failed == (), 'nothing is asked of it'
    with server_process(arguments, port, tmp_path / 'log'):
        waited(lambda: engines.status.state is BreakerState.TRIAL, 60.0)
        assert engines.answer(max_tokens=5, **PATIENT).error is None
        assert engines.status.state is BreakerState.CLOSED
