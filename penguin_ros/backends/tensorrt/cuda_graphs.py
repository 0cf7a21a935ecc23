# SPDX-License-Identifier: Apache-2.0
"""Runs one engine again and again under few shapes at the same addresses, each as a captured CUDA
graph.

The rules are those of TensorRT's guide: a graph holds the shapes and addresses that its context
had, so each has a context of its own, which is left alone afterwards; a context runs once before it
is captured. All share one memory for intermediate values.

If every slot were decoded where it lies, each would need contexts, graphs and their memory of its
own for each length, and make them in the middle of an answer. So graphs know one place, and a slot
that goes on decoding is swapped with the one that lies there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from penguin_ros.backends.base.backend import BackendStats
from penguin_ros.backends.base.recently_used import RecentlyUsed
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.tensorrt.cache import KvCache
from penguin_ros.backends.tensorrt.engine import Context
from penguin_ros.errors import BackendError

MAX_GRAPHS = 16
"""Contexts that are kept; the least recently used is evicted for another."""


@dataclass
class GraphCounts:
    """How the runs were queued: `captured` graphs, runs that `launched` one, `plain` runs without;
    `made_ms` is the time for contexts and captures. `failure` is why graphs are not used, '' when
    they are.
    """

    captured: int = 0
    launched: int = 0
    plain: int = 0
    made_ms: float = 0.0
    failure: str = ''


@dataclass
class _Entry:
    context: Context
    graph: int | None = None
    runs: int = 0


class GraphCache:
    """At most `limit` contexts with their graphs, MAX_GRAPHS when it is 0."""

    def __init__(self, device: CudaDevice, limit: int = 0) -> None:
        self.counts = GraphCounts()
        self._device = device
        self._entries: RecentlyUsed[Hashable, _Entry] = RecentlyUsed(
            limit or MAX_GRAPHS, self._free
        )

    @property
    def limit(self) -> int:
        """The most contexts that are kept."""
        return self._entries.limit

    def run(self, key: Hashable, prepare: Callable[[], Context]) -> None:
        """Queues one run; `prepare` makes the context, bound and shaped, when there is none for
        `key` yet.

        The same key must always mean the same addresses and shapes.
        """
        entry = self._entries.get(key, lambda: self._made(key, prepare))
        if entry.graph is None and entry.runs and not self.counts.failure:
            self._capture(key, entry)
        if entry.graph is None:
            entry.context.enqueue()
            self.counts.plain += 1
        else:
            self._device.launch(entry.graph)
            self.counts.launched += 1
        entry.runs += 1

    def count_from_now(self) -> None:
        """Forgets the runs so far, which nobody asked for."""
        self.counts.plain = self.counts.launched = 0

    def stats(self) -> BackendStats:
        """Returns the counts for users; on any thread."""
        counts = self.counts
        return BackendStats(
            {
                'CUDA graphs captured': counts.captured,
                'CUDA graphs evicted': self._entries.evicted,
                'ms for making CUDA graphs': round(counts.made_ms),
                'steps with CUDA graph': counts.launched,
                'steps without CUDA graph': counts.plain,
            },
            f'CUDA graphs are not used: {counts.failure}' if counts.failure else '',
        )

    def close(self) -> None:
        """Frees all graphs and contexts."""
        self._entries.clear()

    def _made(self, key: Hashable, prepare: Callable[[], Context]) -> _Entry:
        start = time.perf_counter()
        entry = _Entry(prepare())
        self._log(f'context for {key}', start)
        return entry

    def _capture(self, key: Hashable, entry: _Entry) -> None:
        start = time.perf_counter()
        try:
            entry.graph = self._device.capture(entry.context.enqueue)
            self.counts.captured += 1
            self._log(f'CUDA graph for {key}', start)
        except BackendError as error:
            # Slower, but right: every run is queued kernel by kernel from now on.
            self.counts.failure = str(error)
            logging.getLogger(__name__).warning('CUDA graphs are not used: %s', error)

    def _log(self, what: str, start: float) -> None:
        """Notes what it took; the second step of an answer must not pay for it."""
        taken_ms = (time.perf_counter() - start) * 1e3
        self.counts.made_ms += taken_ms
        logging.getLogger(__name__).info('%s: %.1f ms', what, taken_ms)

    def _free(self, entry: _Entry) -> None:
        if entry.graph is not None:
            self._device.free(entry.graph)
        entry.context.close()


class DecodePlace:
    """The memory in which slot 0 of `cache` lies at first; slots come and go, the memory stays."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self._held = 0
        self._asked = -1

    def takes(self, index: int, extent: Callable[[int], int]) -> bool:
        """Returns whether a slot lies in the place for its next step. It comes in at the second
        step in a row that asks for it, so that slots that take turns are not carried to and fro.

        `extent` gives how many positions of a slot matter.
        """
        is_again, self._asked = index == self._asked, index
        if index != self._held and is_again:
            self._cache.swap(index, self._held, max(extent(index), extent(self._held)))
            self._held = index
        return index == self._held
