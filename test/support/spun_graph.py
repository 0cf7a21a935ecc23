# SPDX-License-Identifier: Apache-2.0
"""A graph that a thread spins, so that cameras and nodes of the test go on while it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from support.graph import Graph

WAIT_S = 60.0


class SpunGraph:
    """Spins from now on until `close`; the graph itself is not to be waited for meanwhile."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self._thread.join()

    def _spin(self) -> None:
        while not self._is_over.is_set():
            self._graph.executor.spin_once(timeout_sec=0.02)


def wait_for(condition: Callable[[], Any], seconds: float = WAIT_S) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'not within the time'
        time.sleep(0.02)
