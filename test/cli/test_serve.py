# SPDX-License-Identifier: Apache-2.0
"""`penguin serve` says what it lacks, serves, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest

from penguin_ros.cli.main import main
from penguin_ros.shipped import MODEL, shipped_model


def test_what_is_missing_is_said_before_a_model_is_touched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('PENGUIN_API_KEYS', raising=False)
    assert main(['serve', 'nowhere', '--bind', '0.0.0.0']) == 2
    assert '--api-key-file' in capsys.readouterr().err
    assert main(['serve', 'nowhere', '--tls-key', 'robot.key']) == 2
    assert 'TLS needs two files' in capsys.readouterr().err
    assert main(['serve', 'nowhere', '--ray', 'local']) == 2
    assert 'ray start --head' in capsys.readouterr().err
    assert main(['serve', 'nowhere', '--ray', 'auto', '--tls-key', 'robot.key']) == 2
    assert 'TLS needs two files' in capsys.readouterr().err
    assert main(['serve', 'nowhere', '--replicas', '2']) == 2
    assert 'Give --ray ADDRESS' in capsys.readouterr().err
    assert main(['serve', 'nowhere', '--ray', 'auto', '--max-replicas', '2']) == 2
    assert 'give --replicas 0' in capsys.readouterr().err
    assert main(['serve']) == 2
    assert 'penguin serve BUNDLE' in capsys.readouterr().err


def test_it_is_told_to_end_and_interrupted_only_when_it_is_told_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, told = SimpleNamespace(name='m', backend='b', precision='p'), []

    def serve(config: Any, options: Any, on_ready: Any, should_stop: Any) -> None:
        on_ready('http://127.0.0.1:1/v1', model)
        told.append(should_stop())
        signal.raise_signal(signal.SIGTERM)
        told.append(should_stop())
        signal.raise_signal(signal.SIGINT)
        told.append('not interrupted')

    monkeypatch.setattr('penguin_ros.serving.main.serve', serve)
    monkeypatch.setattr('penguin_ros.cli.serve._config', lambda arguments: None)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert main(['serve', 'a-bundle']) == 0 and told == [False, True]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.slow
def test_the_included_model_is_served_until_sigterm() -> None:
    if shipped_model() is None:
        pytest.skip('engines/penguin_sim has no weights here')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, '-m', 'penguin_ros.cli.entry', 'serve', MODEL, '--port', str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith(f'Serving {MODEL}') and line.endswith(f'127.0.0.1:{port}/v1\n')
        message = {'role': 'user', 'content': 'Is there a box?'}
        body = json.dumps({'model': MODEL, 'messages': [message]}).encode()
        request = urllib.request.Request(
            f'http://127.0.0.1:{port}/v1/chat/completions',
            body,
            {'Content-Type': 'application/json'},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)['choices'][0]['message']['content']
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
