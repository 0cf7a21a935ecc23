# SPDX-License-Identifier: Apache-2.0
"""`penguin serve --ray` on a cluster of two nodes, and how its application is asked."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.own_network import own_network
from support.ray_cluster import RayCluster, processes, ray_cluster, ray_environment, ray_python

REPLICA = 'ray::ServeReplica:penguin:engine'
DEPLOY_SECONDS = 600


class Deployed:
    """A deployed application; `tls`: what its certificate is checked against."""

    def __init__(self, cluster: RayCluster, tls: ssl.SSLContext | None = None) -> None:
        self._cluster = cluster
        self.tls = tls
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port: int = free.getsockname()[1]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Types `penguin serve --ray` with these words."""
        return subprocess.run(
            [
                *(ray_python(), '-m', 'penguin_ros.cli.entry', 'serve', *words),
                *('--ray', self._cluster.address),
            ],
            capture_output=True,
            text=True,
            timeout=DEPLOY_SECONDS,
            env=ray_environment(),
        )

    def deploy(self, source: str = 'penguin_sim', *words: str) -> str:
        """Deploys a model with replicas of little; returns what was printed."""
        done = self.command(
            *(source, '--replica-cpus', '0.4', '--port', str(self.port)),
            *('--set', 'model.threads=1', '--set', 'generation.max_repeats=0', *words),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def url(self) -> str:
        return f'http{"s" if self.tls else ""}://localhost:{self.port}/v1/chat/completions'

    def open(self, session: str = '', **fields: Any) -> Any:
        message = {'role': 'user', 'content': 'How many things are there?'}
        body = {'model': 'penguin_sim', 'messages': [message], **fields}
        headers = {'Content-Type': 'application/json', 'X-Session-Id': session}
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        return urllib.request.urlopen(request, timeout=120, context=self.tls)

    def ask(self, session: str = '', **fields: Any) -> dict[str, Any]:
        with self.open(session, **fields) as response:
            return dict(json.load(response))

    def replicas(self) -> int:
        """How many replicas there are."""
        return len(processes(REPLICA, os.environ['PENGUIN_RAY_TEST']))


class Clients:
    """Several that ask again and again, on threads, from `with` to its end."""

    def __init__(self, deployed: Deployed, count: int, **fields: Any) -> None:
        self.replies: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._deployed = deployed
        self._fields = fields
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(str(number),)) for number in range(count)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, session: str) -> None:
        while not self._stop.is_set():
            try:
                self.replies.append(self._deployed.ask(session, **self._fields))
            except urllib.error.HTTPError as error:
                self.failures.append(f'{error.code}: {error.read()!r}')
            except OSError as error:
                self.failures.append(repr(error))
            time.sleep(0.02)


def waited(condition: Callable[[], bool], seconds: float) -> None:
    """Looks now and then until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'not in time'
        time.sleep(0.3)


@contextmanager
def marked_cluster(cpus: int = 1) -> Iterator[RayCluster]:
    """A cluster whose processes can be told from those of others."""
    os.environ['PENGUIN_RAY_TEST'] = str(os.getpid())
    try:
        with ray_cluster(cpus) as cluster:
            yield cluster
    finally:
        del os.environ['PENGUIN_RAY_TEST']


@contextmanager
def serve_cluster() -> Iterator[RayCluster]:
    """A marked cluster for Serve."""
    why = 'replicas of Ray Serve listen at every address for each other'
    with own_network(why), marked_cluster() as cluster:
        yield cluster
