# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests with ROS: running penguin nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope='module')
def loadable_checkpoint(tiny_checkpoint: Path) -> Path:
    """A tiny random checkpoint that a node can load, which takes PyTorch."""
    pytest.importorskip('torch', reason='the node runs a checkpoint with PyTorch here')
    return tiny_checkpoint


@pytest.fixture(scope='module')
def live_node(graph: Any, loadable_checkpoint: Path) -> Iterator[Callable[..., Any]]:
    """Starts penguin nodes with a tiny random network, whose arguments are those of LiveNode.

    Each is active when it is returned; `frames_hz` above 0 gives it a camera, and frames in its
    buffer. All are stopped by SIGINT at the end of the module, which must be quiet.
    """
    from support.live_node import LiveNode, with_frames

    nodes: list[LiveNode] = []

    def start(
        parameters: dict[str, Any] | None = None, *, frames_hz: float = 0.0, **options: Any
    ) -> LiveNode:
        node = LiveNode(graph, loadable_checkpoint, parameters, **options)
        nodes.append(node)
        node.wait_until('active')
        if frames_hz:
            node.camera = with_frames(node, hertz=frames_hz)
        return node

    yield start
    for node in nodes:
        node.process.stop()
