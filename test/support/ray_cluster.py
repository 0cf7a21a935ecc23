# SPDX-License-Identifier: Apache-2.0
"""A Ray cluster of two nodes on the loopback, for tests that kill one.

As a program, in the python that has Ray, it prints the address and does what it reads: `kill` takes
the second node away without a goodbye, `add` brings one, the end of the input ends everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300.0


def ray_python() -> str:
    """The python that has Ray; skips the test without one."""
    given = os.environ.get('PENGUIN_RAY_PYTHON', '')
    if not given and find_spec('ray') is None:
        pytest.skip('no Ray: make a venv of requirements/ray.txt and set PENGUIN_RAY_PYTHON')
    return given or sys.executable


def ray_environment() -> dict[str, str]:
    """This package and its libraries for the python that has Ray."""
    paths = [str(ROOT), sysconfig.get_paths()['purelib'], os.environ.get('PYTHONPATH', '')]
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(filter(None, paths)),
        'RAY_USAGE_STATS_ENABLED': '0',
        # Otherwise a node that is told 127.0.0.1 is looked for at the machine's own address.
        'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER': '0',
        'RAY_ENABLE_UV_RUN_RUNTIME_ENV': '0',
        'OMP_NUM_THREADS': '1',
    }


class RayCluster:
    """A running cluster; `address` is for drivers."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process = process
        self.address = address

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline().strip() == 'done'


def processes(title: str, mark: str) -> list[int]:
    """Ids of processes whose title begins so, and that have PENGUIN_RAY_TEST=`mark` in their
    environment.
    """
    found = []
    for entry in Path('/proc').iterdir():
        try:
            is_titled = (entry / 'cmdline').read_bytes().startswith(title.encode())
            environment = (entry / 'environ').read_bytes().split(b'\0') if is_titled else []
        except OSError:
            continue
        if f'PENGUIN_RAY_TEST={mark}'.encode() in environment:
            found.append(int(entry.name))
    return found


@contextmanager
def ray_cluster(cpus: int = 1) -> Iterator[RayCluster]:
    """Two nodes with `cpus` CPUs each."""
    process = subprocess.Popen(
        [ray_python(), __file__, str(cpus)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ray_environment(),
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        address = next(
            (line.split()[1] for line in process.stdout if line.startswith('address ')), ''
        )
        assert address, 'the cluster did not start'
        yield RayCluster(process, address)
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def main() -> None:
    from ray.cluster_utils import Cluster

    node = {'num_cpus': int(sys.argv[1])}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={'include_dashboard': False, **node},
    )
    second = cluster.add_node(**node)
    print('address', cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == 'kill':
            cluster.remove_node(second, allow_graceful=False)
        elif line.strip() == 'add':
            second = cluster.add_node(**node)
        print('done', flush=True)
    cluster.shutdown()


if __name__ == '__main__':
    main()
