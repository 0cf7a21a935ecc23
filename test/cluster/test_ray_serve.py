# SPDX-License-Identifier: Apache-2.0
"""On a real cluster: sessions keep their replica, a replaced bundle loses no request, and an answer
that loses its replica ends with an error.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from support.ray_cluster import RayCluster, processes, ray_cluster, ray_environment, ray_python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ENDLESS = {
    'type': 'json_schema',
    'json_schema': {
        'name': 'long',
        'schema': {'type': 'array', 'minItems': 100_000, 'items': {'type': 'boolean'}},
    },
}
REPLICA = 'ray::ServeReplica:penguin:engine'


class Deployed:
    """A deployed application and how to ask it."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port: int = free.getsockname()[1]

    def deploy(self, name: str) -> None:
        done = subprocess.run(
            [
                *(ray_python(), '-m', 'penguin_ros.cli.entry', 'serve', 'penguin_sim'),
                *('--ray', self._cluster.address, '--replicas', '2', '--replica-cpus', '0.4'),
                *('--port', str(self.port), '--model-name', name, '--set', 'model.threads=1'),
                *('--set', 'generation.max_repeats=0'),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            env=ray_environment(),
        )
        assert done.returncode == 0, done.stderr

    def open(self, session: str = '', **fields: Any) -> Any:
        message = {'role': 'user', 'content': 'How many things are there?'}
        body = {'model': 'penguin_sim', 'messages': [message], **fields}
        headers = {'Content-Type': 'application/json', 'X-Session-Id': session}
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}/v1/chat/completions', json.dumps(body).encode(), headers
        )
        return urllib.request.urlopen(request, timeout=120)

    def ask(self, session: str = '', **fields: Any) -> dict[str, Any]:
        with self.open(session, **fields) as response:
            return dict(json.load(response))


@pytest.fixture(scope='module')
def deployed() -> Iterator[Deployed]:
    os.environ['PENGUIN_RAY_TEST'] = str(os.getpid())
    try:
        with ray_cluster() as cluster:
            deployed = Deployed(cluster)
            deployed.deploy('penguin_sim')
            yield deployed
    finally:
        del os.environ['PENGUIN_RAY_TEST']


def reused(reply: dict[str, Any]) -> int:
    return int(reply['usage']['prompt_tokens_details']['cached_tokens'])


def test_a_session_finds_what_it_had_computed(deployed: Deployed) -> None:
    replies = {}
    for session in map(str, range(8)):
        text = f'Session {session}: what is behind the box?'
        messages = [{'role': 'user', 'content': text}]
        first = deployed.ask(session, messages=messages)
        again = [deployed.ask(session, messages=messages) for _ in range(3)]
        replies[session] = reused(first), [reused(each) for each in again]
        assert all(reused(each) >= first['usage']['prompt_tokens'] - 2 for each in again), replies


def test_a_bundle_is_replaced_without_a_lost_request(deployed: Deployed) -> None:
    names, failures, stop = [], [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                names.append(deployed.ask(max_tokens=4)['model'])
            except (OSError, urllib.error.HTTPError) as error:
                failures.append(repr(error))
            time.sleep(0.05)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        deployed.deploy('second')
    finally:
        end = time.monotonic() + 60
        while 'second' not in names[-10:] and time.monotonic() < end:
            time.sleep(0.1)
        stop.set()
        for client in clients:
            client.join()
    assert failures == [] and set(names) == {'penguin_sim', 'second'}
    assert len(names) > 10


def test_an_answer_that_loses_its_replica_ends_with_an_error(deployed: Deployed) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    lines = []
    with deployed.open(stream=True, response_format=ENDLESS, max_tokens=4000) as stream:
        for line in stream:
            lines.append(line)
            if len(lines) == 20:
                for replica in processes(REPLICA, str(os.getpid())):
                    os.kill(replica, signal.SIGKILL)
    data = [line for line in lines if line.startswith(b'data: ')]
    assert b'[DONE]' not in b''.join(data)
    assert json.loads(data[-1].removeprefix(b'data: '))['error']['code'] == 'replica_lost'
    end = time.monotonic() + 300
    while True:  # Ray brings them back
        try:
            assert deployed.ask(max_tokens=4)['choices']
            break
        except urllib.error.HTTPError as error:
            assert time.monotonic() < end and error.code == 503
            time.sleep(1)
