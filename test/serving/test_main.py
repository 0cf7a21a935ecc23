# SPDX-License-Identifier: Apache-2.0
"""A server that is told to end lets answers under way end first."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from pathlib import Path

import pytest
from support.stepped_jobs import LIVENESS_SECONDS

from penguin_ros.config import PenguinConfig
from penguin_ros.serving.main import ServeOptions, serve
from penguin_ros.settings import with_values


def test_an_answer_under_way_ends_whole_when_the_server_is_told_to_end(
    tiny_checkpoint: Path,
) -> None:
    pytest.importorskip('torch')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    values = {'model.checkpoint': str(tiny_checkpoint), 'model.device': 'cpu'}
    config = with_values(PenguinConfig(), values)
    ready, stop = threading.Event(), threading.Event()
    server = threading.Thread(
        target=serve,
        args=(
            config,
            ServeOptions(port=port, model_name='tiny', drain_s=LIVENESS_SECONDS),
            lambda address, model: ready.set(),
            stop.is_set,
        ),
    )
    server.start()
    assert ready.wait(LIVENESS_SECONDS)
    body = {
        'model': 'tiny',
        'stream': True,
        'temperature': 1.0,
        'max_tokens': 100,
        'messages': [{'role': 'user', 'content': 'What is there?'}],
    }
    connection = http.client.HTTPConnection('127.0.0.1', port, LIVENESS_SECONDS)
    kind = {'Content-Type': 'application/json'}
    connection.request('POST', '/v1/chat/completions', json.dumps(body), kind)
    response = connection.getresponse()
    pieces = [response.readline()]
    stop.set()
    pieces += response.readlines()
    assert len(pieces) > 50 and pieces[-2] == b'data: [DONE]\n'
    server.join(LIVENESS_SECONDS)
    assert not server.is_alive()
