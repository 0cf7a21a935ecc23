# SPDX-License-Identifier: Apache-2.0
"""On a real cluster: sessions keep their replica, a replaced bundle loses no request, an answer
that loses its replica ends with an error, and a body that is too large is not waited for.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.ray_cluster import processes
from support.ray_deployment import REPLICA, Clients, Deployed, serve_cluster, waited

from penguin_ros.shipped import shipped_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ENDLESS = {
    'type': 'json_schema',
    'json_schema': {
        'name': 'long',
        'schema': {'type': 'array', 'minItems': 100_000, 'items': {'type': 'boolean'}},
    },
}


@pytest.fixture(scope='module')
def deployed() -> Iterator[Deployed]:
    with serve_cluster() as cluster:
        deployed = Deployed(cluster)
        deployed.deploy('penguin_sim', '--replicas', '2')
        yield deployed


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


def test_there_is_a_loopback_only(deployed: Deployed) -> None:
    addresses = [each.address for card in psutil.net_if_addrs().values() for each in card]
    assert '127.0.0.1' in addresses
    assert all(each in ('127.0.0.1', '::1', '00:00:00:00:00:00') for each in addresses)


def test_a_body_that_is_too_large_is_refused_before_it_is_there(deployed: Deployed) -> None:
    head = (
        'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n'
        'Content-Type: application/json\r\nContent-Length: 10000000000\r\n\r\n{'
    )
    with socket.create_connection(('127.0.0.1', deployed.port), 60) as connection:
        connection.sendall(head.replace('localhost', f'localhost:{deployed.port}').encode())
        reply = connection.recv(65536)
        while b'request_too_large' not in reply:
            received = connection.recv(65536)
            assert received, reply
            reply += received
    assert reply.startswith(b'HTTP/1.1 413')


def test_pages_of_other_sites_are_kept_out(deployed: Deployed) -> None:
    request = urllib.request.Request(
        f'http://127.0.0.1:{deployed.port}/v1/models', headers={'Host': 'elsewhere.example'}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 421


def test_another_bundle_takes_over_without_a_lost_request(
    deployed: Deployed, tmp_path: Path
) -> None:
    build = ('-m', 'penguin_ros.cli.entry', 'build', str(shipped_model()), '--precision', 'int8')
    second = tmp_path / 'second'
    subprocess.run([sys.executable, *build, '--out', str(second)], check=True, timeout=600)
    with Clients(deployed, 2, max_tokens=4) as clients:
        waited(lambda: len(clients.replies) > 4, 120)
        deployed.deploy(str(second), '--replicas', '2', '--model-name', 'second')
        waited(lambda: {each['model'] for each in clients.replies[-10:]} == {'second'}, 120)
    assert clients.failures == [] and all(each['choices'] for each in clients.replies)
    told = {(each['model'], each['penguin']['evidence']['precision']) for each in clients.replies}
    assert told == {('penguin_sim', 'float32'), ('second', 'int8')}


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


def test_what_is_too_much_is_told_to_come_again(deployed: Deployed) -> None:
    deployed.deploy('penguin_sim', '--replicas', '1', '--in-flight', '1')
    with Clients(deployed, 6, max_tokens=24) as clients:
        waited(lambda: len(clients.replies) > 4 and len(clients.failures) > 4, 120)
    codes = {failure.partition(':')[0] for failure in clients.failures}
    assert codes == {'429'}, clients.failures
    assert all('queue_full' in failure for failure in clients.failures)


def test_a_single_replica_is_exchanged_while_requests_wait(deployed: Deployed) -> None:
    deployed.deploy('penguin_sim', '--replicas', '1')
    with Clients(deployed, 2, max_tokens=4) as clients:
        waited(lambda: len(clients.replies) > 4, 120)
        deployed.deploy('penguin_sim', '--replicas', '1', '--model-name', 'third')
        waited(lambda: {each['model'] for each in clients.replies[-10:]} == {'third'}, 120)
    assert clients.failures == []
    assert {each['model'] for each in clients.replies} == {'penguin_sim', 'third'}
