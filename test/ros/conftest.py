# SPDX-License-Identifier: Apache-2.0
"""A graph for the tests of one module, closed with all its processes at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope='module')
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A ROS graph on a domain of its own."""
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from support.graph import Graph

    graph = Graph(tmp_path_factory.mktemp('graph'))
    yield graph
    graph.close()
