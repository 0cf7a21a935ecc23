# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests: golden values and the video, which lie in `shared/` beside the repository
and are never copied into it, a small checkpoint, and ROS graphs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ros_environment import set_ros_environment

set_ros_environment()
# Before numpy is imported. The small products of tests take a hundred times as long where other
# processes have the cores: threads of OpenBLAS spin while they wait for each other.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

SHARED = Path(__file__).resolve().parents[2] / 'shared'


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f'{path} is absent')
    return path


@pytest.fixture(scope='session')
def golden_dir() -> Path:
    """The reference's checkpoint and cases."""
    return _present(SHARED / 'golden')


@pytest.fixture(scope='session')
def video_path() -> Path:
    """A real video, 608 x 342, 25 fps, 29 s."""
    return _present(SHARED / 'media' / 'polar_bear.mp4')


@pytest.fixture(scope='session')
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with random weights."""
    from penguin_ros.testing.random_checkpoint import write_random_checkpoint

    return write_random_checkpoint(tmp_path_factory.mktemp('checkpoint') / 'tiny')


@pytest.fixture(scope='module')
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A ROS graph on a domain of its own for the tests of a module; it is closed, with all its
    processes, at their end.
    """
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from support.graph import Graph

    graph = Graph(tmp_path_factory.mktemp('graph'))
    yield graph
    graph.close()


@pytest.fixture
def fresh_graph(tmp_path: Path) -> Iterator[Any]:
    """A ROS graph for one test alone."""
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from support.graph import Graph

    graph = Graph(tmp_path)
    yield graph
    graph.close()


@pytest.fixture
def own_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A domain that no other test holds, in this process' environment too."""
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from support.graph import Domain

    domain = Domain()
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain.number))
    yield domain
    domain.close()


@pytest.fixture
def ros_domain(own_domain: Any) -> int:
    """The ROS_DOMAIN_ID of `own_domain`."""
    return int(own_domain.number)


@pytest.fixture
def own_context(own_domain: Any) -> Iterator[Any]:
    """A context of rclpy on `own_domain`."""
    from support.graph import ros_context

    with ros_context(own_domain) as context:
        yield context


@pytest.fixture
def silent_node(own_context: Any) -> Iterator[Any]:
    """A stand-in for a penguin node on `own_domain`, see support/silent_node.py."""
    from support.silent_node import SilentNode

    node = SilentNode(own_context)
    yield node
    node.leave()
